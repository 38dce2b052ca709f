"""Parts of a user's own: Python files that add to the registries."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.data import DATASETS
from wgan_cli.errors import InputError, blame, format_value, make_printable
from wgan_cli.files import parse_path
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.settings import CONF_DIR, DatasetUse

PARTS: dict[str, Any] = {
    "dataset": DATASETS,
    "generator": GENERATORS,
    "critic": CRITICS,
    "loss": LOSSES,
    "constraint": CONSTRAINTS,
    "optimizer": OPTIMIZERS,
}
# Parameters that are no settings, because the program supplies them.
OF_NETWORKS = ("image_size", "channels", "sample_shape", "num_classes")
SUPPLIED = {"generator": OF_NETWORKS, "critic": OF_NETWORKS, "optimizer": ("generator", "critic")}
MODULE = "wgan_cli_plugin_"  # begins the names under which the files are imported


def import_plugins(files: Iterable[str]) -> None:
    """Import Python files, which add parts to the registries. An unchanged file is imported once.

    Raises:
        SettingError: If a file does not exist, fails, or replaces a part of the program.
    """
    for file in files:
        with blame("plugins", file):
            path = parse_path(file).resolve()
            if not path.is_file():
                raise InputError("no such file")
            name = f"{MODULE}{path.stem}"
            stamp = (path, path.stat().st_mtime_ns)
            if getattr(sys.modules.get(name), "stamp", None) != stamp:
                before = {group: dict(registry) for group, registry in PARTS.items()}
                _execute(path, name, stamp)
                _refuse_replacements(before)


def make_options() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the parts that have no YAML file in the program: group and name to their settings and defaults."""
    return {
        (group, name): _read_defaults(group, name, part)
        for group, registry in PARTS.items()
        for name, part in registry.items()
        if not (CONF_DIR / group / f"{name}.yaml").is_file()
    }


def require_parts(config: Mapping[str, Any], groups: Iterable[str] = tuple(PARTS)) -> None:
    """Check that the parts of a checkpoint's configuration are registered.

    Raises:
        InputError: If one is not. The message names the file that defined it, which is not imported by itself.
    """
    for group in groups:
        part = config.get(group)
        name = part.get("name") if isinstance(part, dict) else None
        if isinstance(name, str) and name not in PARTS[group]:
            setting = make_printable(f"plugins={format_value(config.get('plugins') or ['FILE'])}")
            raise InputError(f"has {group}={make_printable(name)}, which is not part of the program; add {setting}")


def _execute(path: Path, name: str, stamp: tuple[Path, int]) -> None:
    """Execute a file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError("is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        raise InputError(f"cannot be imported (line {line}: {type(error).__name__}: {error})") from error
    module.__dict__["stamp"] = stamp


def _refuse_replacements(before: Mapping[str, Mapping[str, Any]]) -> None:
    """Undo the import of a file that gives a part of the program's to another class."""
    for group, registry in PARTS.items():
        for name, part in before[group].items():
            if registry.get(name) is not part and not part.__module__.startswith(MODULE):
                registry[name] = part
                raise InputError(f"replaces {group}={name}; choose another name")


def _read_defaults(group: str, name: str, part: Callable[..., object]) -> dict[str, Any]:
    settings: dict[str, Any] = {"name": name}
    for key, parameter in inspect.signature(part).parameters.items():
        if key not in SUPPLIED.get(group, ()):
            settings[key] = "???" if parameter.default is parameter.empty else parameter.default
    if group == "dataset":
        settings |= {field.name: field.default for field in fields(DatasetUse)}
    return settings
