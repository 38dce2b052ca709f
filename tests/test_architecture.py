"""The arrows of the layout, read from the sources: what each part of the package may know."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from wgan_cli.settings import CONF_DIR

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "wgan_cli"

# Which part may import which. What is not here imports nothing of ours.
ALLOWED = {
    "": {"players", "restore"},
    "cli": {"", "build", "export", "modes", "parameters", "restore", "run", "settings"},
    "restore": {"build", "devices", "parameters", "players", "run", "settings", "training"},
    "build": {
        "constraints", "data", "devices", "losses", "networks", "optimizers", "parameters", "players", "run",
        "sampling", "settings", "training",
    },
    "export": {"files", "output", "parameters", "players"},
    "images": {"files"},
    "modes": {"files", "images", "output", "parameters", "players", "sampling", "settings"},
    "output": {"parameters"},
    "run": {"files", "images", "parameters", "sampling", "training"},
    "sampling": {"images", "players", "training"},
    "training": {"constraints", "losses", "players"},
    "constraints": {"parameters"},
    "data": {"files", "parameters", "settings"},
    "devices": {"parameters"},
    "losses": {"parameters"},
    "networks": {"parameters", "players"},
    "optimizers": {"parameters"},
    "settings": {"parameters"},
}  # fmt: skip
# Modules whose tests do not lie at the mirrored place, and where they do.
TESTED_ELSEWHERE = {
    "__init__": "test_restore",
    "cli/compose": "cli/test_train",
    "cli/errors": "cli/test_mistakes",
    "cli/help": "cli/test_train",
    "cli/main": "cli/test_stops",
    "data/cache": "data/test_image_folder",
    "files": "test_images",
    "optimizers": "training/test_loop",
    "output": "test_modes",
    "players": "networks/test_mlp",
    "run/archive": "run/test_checkpoints",
    "run/failure": "run/test_session",
    "run/interrupts": "cli/test_stops",
}


def module_name(path: Path) -> str:
    """wgan_cli/run/folder.py is run.folder, and the package itself has no name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING:`."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {inner for block in blocks for inner in ast.walk(block)}


def imported(name: str, at_import_only: bool = False) -> Iterator[str]:
    """The full names of the modules that a module imports, inside its functions too unless told otherwise."""
    tree = TREES[name]
    skipped = type_checking_only(tree)
    if at_import_only:
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        skipped |= {inner for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            base = str(node.module)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full.removeprefix("wgan_cli.") in SOURCES else base


def ours(name: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = (module for module in imported(name) if module.split(".")[0] == "wgan_cli")
    return {module.removeprefix("wgan_cli").removeprefix(".") for module in found}


def others(name: str, at_import_only: bool = False) -> set[str]:
    """The top-level names of everything else that it imports."""
    return {module.split(".")[0] for module in imported(name, at_import_only)} - {"wgan_cli"}


def part(module: str) -> str:
    return module.split(".")[0]


def test_the_sources_were_found() -> None:
    assert {"", "cli.train", "build", "run.session", "training.loop", "losses", "networks.dcgan"} <= SOURCES.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_arrows_point_down(name: str) -> None:
    beyond = {part(module) for module in ours(name)} - {part(name)}
    assert beyond <= ALLOWED.get(part(name), set())


def test_the_table_says_what_the_layout_says() -> None:
    """cli → build → run → training → {losses, constraints}, and build alone knows data, networks and optimizers."""
    users = {target: {who for who, allowed in ALLOWED.items() if target in allowed} for target in map(part, SOURCES)}
    assert users["cli"] == set()
    assert users["build"] == {"cli", "restore"}
    assert users["data"] == users["networks"] == users["optimizers"] == {"build"}
    assert users["run"] == {"cli", "build", "restore"}
    assert {"losses", "constraints"} <= ALLOWED["training"]
    assert not ALLOWED["training"] & {"run", "images", "sampling", "settings", "parameters"}
    list(TopologicalSorter({who: allowed - {who} for who, allowed in ALLOWED.items()}).static_order())


def test_no_circle_of_imports() -> None:
    list(TopologicalSorter({name: ours(name) - {name} for name in SOURCES}).static_order())


def test_only_the_commands_know_hydra() -> None:
    users = {part(name) for name in SOURCES if others(name) & {"hydra", "omegaconf"}}
    assert users == {"cli"}


def test_training_knows_no_files_loggers_or_progress_bars() -> None:
    outside = set().union(*(others(name) for name in SOURCES if part(name) == "training"))
    standard = {"bisect", "collections", "contextlib", "copy", "dataclasses", "functools", "hashlib", "typing"}
    assert outside <= standard | {"torch"}


def test_what_reads_the_command_line_does_not_import_torch() -> None:
    light = [name for name in SOURCES if part(name) in ("", "cli", "settings", "parameters")]
    assert len(light) > 5
    for name in (*light, "run.failure", "run.interrupts"):
        assert not others(name, at_import_only=True) & {"torch", "torchvision", "numpy", "PIL"}, name


def test_the_commands_are_imported_without_torch() -> None:
    check = "import sys, wgan_cli.cli.train, wgan_cli.cli.sample; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_console_scripts_are_imported_without_hydra() -> None:
    """So that a signal is answered from the first moment on."""
    check = "import sys, wgan_cli.cli.main; assert not {'torch', 'hydra', 'yaml'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_every_module_has_its_test() -> None:
    for name, path in SOURCES.items():
        relative = path.relative_to(PACKAGE).with_suffix("")
        if path.name == "__init__.py" and name:
            continue
        place = TESTED_ELSEWHERE.get(relative.as_posix(), f"{relative.parent.as_posix()}/test_{relative.name}")
        assert (TESTS / f"{place}.py").is_file(), f"{name} has no {place}.py"
    known = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in SOURCES.values()}
    assert TESTED_ELSEWHERE.keys() <= known


# What no file may hold: ways for data to become code.


def test_nothing_is_built_by_a_dotted_path() -> None:
    for path in (*SOURCES.values(), *CONF_DIR.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert "_target_" not in text, path.name
        assert "instantiate" not in text, path.name


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_read_is_executed(name: str) -> None:
    assert not others(name) & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "importlib_resources"}
    for call in (node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert function not in ("eval", "exec", "compile", "__import__", "importlib.import_module", "yaml.load")
        if function == "torch.load":
            assert options.get("weights_only") == "True"
        if function in ("np.load", "numpy.load"):
            assert options.get("allow_pickle") == "False"
