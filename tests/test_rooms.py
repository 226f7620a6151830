"""The house rules: imports run one way, and importing is light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import isomorph

SOURCE = Path(isomorph.__file__).parent

# Top to bottom as in ARCHITECTURE.md: a room imports only from rooms below it.
ROOMS = (
    "cli",
    "plots",
    "scoring",
    "results",
    "benchmarks",
    "zoo",
    "alignment",
    "extraction",
    "stimuli",
    "encoding",
    "resampling",
    "geometry",
    "storage",
    "registry",
)
# What a room knows nothing of, beyond the order.
FORBIDDEN = {
    "plots": {"torch", "torchvision", "isomorph.scoring", "isomorph.extraction", "isomorph.zoo"},
    "results": {"torch", "torchvision"},
    "benchmarks": {"isomorph.zoo"},
    "alignment": {"pathlib", "os", "isomorph.stimuli"},
    "stimuli": {"torch", "torchvision", "isomorph.resampling"},
    "encoding": {"pathlib", "os", "isomorph.resampling"},
    "geometry": {"pathlib", "os"},
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found.add(node.module or "")
            if node.module == "isomorph":
                found.update(f"isomorph.{alias.name}" for alias in node.names)
    return found


FILES = sorted(
    path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__"
)

# The catalogue of models is asked without waiting for torch: its room hands names on when asked.
LAZY = SOURCE / "zoo" / "__init__.py"
INITS = [path for path in FILES if path.stem == "__init__" and path != LAZY]


def upward_imports(room: str, imported: set[str]) -> set[str]:
    """The imports that run up the list of rooms."""
    below = set(ROOMS[ROOMS.index(room) :])
    rooms = {name.split(".")[1] for name in imported if name.startswith("isomorph.")}
    return rooms - below


def test_every_file_is_in_a_known_room():
    assert {room_of(path) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    room = room_of(path)
    imported = imports_of(path)
    assert not upward_imports(room, imported)
    barred = FORBIDDEN.get(room, set())
    assert not {
        name for name in imported if any(name == b or name.startswith(f"{b}.") for b in barred)
    }


def test_the_rule_sees_an_import_that_runs_up():
    assert upward_imports("geometry", {"isomorph.scoring.run", "numpy"}) == {"scoring"}
    assert not upward_imports("scoring", {"isomorph.geometry"})


@pytest.mark.parametrize("path", INITS, ids=lambda path: str(path.relative_to(SOURCE)))
def test_init_files_only_hand_names_on(path):
    body = ast.parse(path.read_text()).body
    assert all(
        isinstance(node, ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in body
    )


def run_python(code: str) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'torch', 'matplotlib', 'plotnine', 'pandas', 'statsmodels'}"
    code = f"import isomorph, sys; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(code) == "[]"


def test_results_and_plots_need_no_torch():
    use = "import isomorph as iso, sys; iso.read_results, iso.plot_layers"
    code = f"{use}; print('torch' in sys.modules)"
    assert run_python(code) == "False"


def test_every_public_name_can_be_had_and_is_documented():
    for name in isomorph.__all__:
        value = getattr(isomorph, name)
        assert name == "__version__" or value.__doc__, name
    assert set(isomorph.__all__) <= set(dir(isomorph))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        isomorph.nothing  # noqa: B018


def test_lazy_names_are_those_that_type_checkers_see():
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    names = {
        alias.name: node.module.split(".")[1]
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert names == isomorph._ROOM_OF
    tree = ast.parse(LAZY.read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    files = {
        alias.name: node.module.removeprefix("isomorph.zoo.")
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert files == isomorph.zoo._FILE_OF


def test_library_code_never_prints():
    for path in FILES:
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", "") in {"print", "eval", "exec"}
        ]
        assert not calls, path
