"""Settings of published transformers, as far as the catalogue ships them: for random twins."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[1] / "tables" / "transformers_configs.json"


@functools.cache
def configs() -> dict[str, dict[str, Any]]:
    """Give the settings of every catalogued repository: ``model_type`` and what is not default."""
    return json.loads(CONFIGS.read_text()) if CONFIGS.is_file() else {}


def is_shipped(repository: str) -> bool:
    """Whether the architecture of a repository is known without asking the hub."""
    return _full_name(repository) in configs()


def _full_name(repository: str) -> str:
    """The name with its organisation; the hub's oldest repositories are known without too."""
    if "/" in repository:
        return repository
    return next((name for name in configs() if name.endswith(f"/{repository}")), repository)


def make_config(repository: str) -> Any:
    """Make the configuration object of a catalogued repository."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**configs()[_full_name(repository)])


@functools.cache
def config_folder(repository: str) -> Path:
    """Give a folder with the configuration of a catalogued repository, for code that wants one."""
    folder = Path(tempfile.mkdtemp(prefix="isomorph-config-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_config(repository).save_pretrained(folder)
    return folder
