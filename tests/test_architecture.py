"""The layers of the package, read from its imports."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

from wgan_cli.settings import CONF_DIR

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "wgan_cli"

# Which part may import which, from the top down. ``networks.players`` is the interface of the networks.
ALLOWED = {
    "": {"build", "cli", "networks.players"},  # in functions, or for types: importing it imports no torch, see below
    "cli": {"build", "errors", "files", "parameters", "settings", "signals", "limits"},
    "build": {
        "constraints", "data", "devices", "errors", "files", "losses", "networks", "optimizers", "parameters", "run",
        "sampling", "settings", "signals", "training",
    },
    "run": {"data", "errors", "files", "parameters", "sampling", "settings", "signals", "training"},
    "sampling": {"errors", "files", "limits", "networks.players", "training"},
    "training": {"constraints", "losses", "networks.players"},
    "constraints": {"networks.players", "parameters"},
    "losses": {"parameters"},
    "data": {"devices", "errors", "files", "networks.players", "parameters", "settings", "limits"},
    "networks": {"parameters"},
    "optimizers": {"parameters"},
    "devices": {"errors", "limits"},
    "settings": {"errors", "parameters"},
    "parameters": {"errors"},
    "files": {"errors"},
}  # fmt: skip


def module_name(path: Path) -> str:
    """wgan_cli/run/folder.py is run.folder; the name of the package itself is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imported(name: str) -> Iterator[str]:
    """The full names of the modules that a module imports, also inside its functions."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            base = str(node.module)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full.removeprefix("wgan_cli.") in SOURCES else base


def ours(name: str) -> set[str]:
    found = (module for module in imported(name) if module.split(".")[0] == "wgan_cli")
    return {module.removeprefix("wgan_cli").removeprefix(".") for module in found}


def others(name: str) -> set[str]:
    return {module.split(".")[0] for module in imported(name)} - {"wgan_cli"}


def part(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("name", SOURCES)
def test_arrows_point_down(name: str) -> None:
    targets = {module for module in ours(name) if part(module) != part(name)}
    allowed = ALLOWED.get(part(name), set())
    assert {module for module in targets if not {part(module), module} & allowed} == set()


def test_the_table_is_a_spine() -> None:
    """cli → build → run → sampling → training, and only build joins data, networks and optimizers."""
    parts = {who: {target.split(".")[0] for target in allowed} for who, allowed in ALLOWED.items()}
    list(TopologicalSorter(parts).static_order())
    for above, below in pairwise(["cli", "build", "run", "sampling", "training"]):
        assert below in ALLOWED[above]
    for target in ("networks", "optimizers"):
        assert [who for who, allowed in ALLOWED.items() if target in allowed] == ["build"]


def test_no_circle_of_imports() -> None:
    list(TopologicalSorter({name: ours(name) - {name} for name in SOURCES}).static_order())


def test_only_the_commands_know_hydra() -> None:
    assert {part(name) for name in SOURCES if others(name) & {"hydra", "omegaconf"}} == {"cli"}


def test_no_private_api_of_hydra() -> None:
    for path in (*SOURCES.values(), *TESTS.rglob("*.py")):
        assert "hydra._" + "internal" not in path.read_text(encoding="utf-8"), path.name


def test_training_knows_no_files_loggers_or_progress_bars() -> None:
    outside = set().union(*(others(name) for name in SOURCES if part(name) == "training"))
    standard = {"bisect", "collections", "contextlib", "copy", "dataclasses", "functools", "hashlib", "typing"}
    assert outside <= {"torch", *standard}


@pytest.mark.parametrize(
    ("parts", "heavy"),
    [
        ({"", "cli", "errors", "files", "parameters", "settings", "signals"}, {"torch", "torchvision", "numpy", "PIL"}),
        ({"errors", "files", "settings", "signals", "cli.main"}, {"torch", "hydra", "yaml"}),
    ],
    ids=["what reads the command line", "what answers a signal from the first moment"],
)
def test_what_starts_fast_imports_nothing_heavy(parts: set[str], heavy: set[str]) -> None:
    names = [f"wgan_cli.{name}".rstrip(".") for name in SOURCES if {part(name), name} & parts]
    assert len(names) >= 5
    check = f"import sys, {', '.join(names)}; print(*({heavy} & sys.modules.keys()))"
    imported = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert imported.stdout.split() == []


# Ways for data to become code, which no file may contain.


def test_nothing_is_built_by_a_dotted_path() -> None:
    for path in (*SOURCES.values(), *CONF_DIR.rglob("*.yaml")):
        assert not re.search("_target_|instantiate", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_read_is_executed(name: str) -> None:
    assert not others(name) & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "importlib_resources"}
    for call in (node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        refused = ("eval", "exec", "compile", "__import__", "importlib.import_module", "yaml.load", "torch.load")
        assert function not in refused
        if function in ("np.load", "numpy.load"):
            assert options.get("allow_pickle") == "False"
