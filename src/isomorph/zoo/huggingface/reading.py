"""Reading networks of transformers from a folder: every weight in its place, or an error."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isomorph.zoo.huggingface.models import keep_encoder, quiet_library
from isomorph.zoo.source import State

logger = logging.getLogger(__name__)

_OLD = re.compile(
    r"(^|\.)(position_ids|attn\.bias|attn\.masked_bias|attention\.bias|attention\.masked_bias|"
    r"rotary_emb\.inv_freq|attn\.attention\.bias|attn\.attention\.masked_bias)$"
)


def read_config(folder: Path, uid: str) -> Any:
    """Read the configuration in a folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the installed library does not know the architecture, or it needs its publisher's code.
    """
    import transformers

    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{uid}: expected a config.json in {folder}, got none.")
    kind = (raw := _read_settings(file, uid)).get("model_type", "")
    if kind not in transformers.CONFIG_MAPPING:
        if "auto_map" in raw:
            raise ValueError(
                f"{uid}: expected an architecture of transformers, got one that comes with code of "
                f"its publisher's, which is never run here. Read the code, load the network with "
                f"it yourself, and give it as Model(module, preprocess)."
            )
        raise ValueError(
            f"{uid}: expected an architecture that transformers {transformers.__version__} knows, "
            f"got {kind!r}. It may need a newer one: pip install --upgrade transformers."
        )
    with quiet_library():
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)


def _read_settings(file: Path, uid: str) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        found = f"a {type(settings).__name__}"
    except ValueError as error:  # not JSON, or not text
        settings, found = None, f"no JSON ({error})"
    if not isinstance(settings, dict):
        raise ValueError(
            f"{uid}: expected a config.json with one object of settings, got {found} in {file}. "
            f"Download it anew."
        )
    return settings


def read_network(folder: Path, config: Any, uid: str, tower: str) -> nn.Module:
    """Read the network in a folder, as float32.

    Heads that the network itself has no place for are left out. A pooling layer for which the
    folder holds no weights is taken from the network: it would give random numbers.

    Raises
    ------
    ValueError
        If other weights are missing or have another shape.
    """
    from transformers import AutoModel

    with quiet_library():
        try:
            module, found = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
        except Exception as error:  # the library's readers raise many kinds
            raise ValueError(
                f"{uid}: the weights in {folder} could not be read ({type(error).__name__}: "
                f"{_first_line(error)}). They may be incomplete, of another architecture, or hold "
                f"more than tensors, which is never unpickled."
            ) from error
    module = keep_encoder(module, tower)
    missing = sorted(set(found["missing_keys"]) & set(module.state_dict()))
    if missing and all(name.startswith("pooler.") for name in missing):
        without_pooler(module)
        missing = []
    if missing:
        raise ValueError(
            f"{uid}: expected all weights in {folder}, got none for {len(missing)}: "
            f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}. Is it the folder of "
            f"another architecture?"
        )
    unused = sorted(found["unexpected_keys"])
    if unused:
        logger.info(
            "%s: %d weights have no place and are not read: %s …", uid, len(unused), unused[0]
        )
    return module


def without_old_buffers(state: State) -> dict[str, torch.Tensor]:
    """Leave out counters and masks that older versions of the library kept with the weights."""
    return {name: value for name, value in state.items() if not _OLD.search(name)}


def without_pooler(module: Any) -> None:
    """Take the pooling layer from a network."""
    if getattr(module, "pooler", None) is not None:
        module.pooler = None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
