"""What went wrong, in a line or two, and with which exit code."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from wgan_cli.parameters import SettingError, nearest, printable, typed
from wgan_cli.run.failure import RunFailedError, could_not_use
from wgan_cli.run.interrupts import interruptions_kept
from wgan_cli.settings import groups

BUG, REFUSED, FAILED = 1, 2, 3
LONGEST = 2000  # letters in a line of a message


class UsageError(ValueError):
    """Words on the command line that mean nothing."""


USER_MISTAKES = (SettingError, UsageError, HydraException, OmegaConfBaseException, yaml.YAMLError)


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error ends the process with."""
    if isinstance(error, USER_MISTAKES):
        return REFUSED
    return FAILED if isinstance(error, RunFailedError | OSError) else BUG


def answered(program: str, command: Callable[[], int]) -> int:
    """Run a command, say what went wrong, and return the exit code."""
    try:
        with interruptions_kept():
            return command()
    except (*USER_MISTAKES, RunFailedError, OSError) as error:
        print(f"{program}: {explain(error)}", file=sys.stderr)
        return exit_code(error)


def explain(error: BaseException) -> str:
    """Say in a line or two what the user wrote, why it cannot be, and what can."""
    lines = [line if len(line) <= LONGEST else f"{line[:LONGEST]}..." for line in _explanation(error).splitlines()]
    return "\n".join(map(printable, lines))


def _explanation(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, USER_MISTAKES):  # as one of Hydra's is
        return could_not_use(error)
    text = str(error)
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option}: no such option{nearest(option, error.options)}; there is {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; {_how_to_write(error.override)}"
    if isinstance(cause, OmegaConfBaseException) and "Could not override" in text:
        return _unknown_key(text, cause)
    if match := re.search(r"Ambiguous value for argument '(.*?)'", text) or re.search(r"argument '(.*?,.*?)'", text):
        key = match[1].partition("=")[0]
        return f"{match[1]}: several values are for a sweep, as in wgan-train -m {match[1]}; a list is {key}=[...]"
    if match := re.search(r"Could not override '([^']*)'\.\s*No match in the defaults list", text):
        return f"{match[1]}: no such group"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: must be given, as in {error.full_key}=..."
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        text = f"{text}\n{cause}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [
        line for line in lines if not line.startswith(("full_key:", "object_type=", "Config search path", "provider="))
    ]
    return "\n".join(lines[:2])


def _how_to_write(override: str) -> str:
    key, equals, value = override.partition("=")
    if re.fullmatch(r"[\w.]+", key, re.ASCII) and equals and value and not set(value) & set("\"'[]{}\\\n"):
        # Hydra's grammar takes letters of English, digits and few signs.
        return f"a value with other signs than these is quoted twice: {typed(key, value)}"
    return "a setting is written key=value, as in n_critic=5"


def _unknown_key(text: str, cause: OmegaConfBaseException) -> str:
    match = re.search(r"Could not override '([^']*)'", text)
    key = match[1] if match else str(cause.full_key)
    if key == "experiment":
        return (
            "experiment: no such recipe; put it into a folder of yours, as DIR/experiment/NAME.yaml: --config-dir DIR"
        )
    parent = cause.parent_node
    around = OmegaConf.to_container(parent, resolve=False) if parent is not None else {}
    settings = {str(name): value for name, value in around.items()} if isinstance(around, dict) else {}
    known = [name for name in settings if name not in ("hydra", "name")]
    prefix, _, name = key.rpartition(".")
    if prefix and not known and "." not in prefix and prefix not in groups():
        return f"{key}: {prefix} has no settings as it is; give it whole, as in {prefix}={{{name}: ...}}"
    where = f" in {prefix}" if prefix else ""
    meant = nearest(name, known) or _elsewhere(name, settings)
    return f"{key}: no such setting{meant}; there is {', '.join(sorted(known)) or 'none'}{where}"


def _elsewhere(name: str, settings: Mapping[str, Any]) -> str:
    """Return `` (did you mean …?)`` for the name of a setting in a group, or for initials, as lr; else nothing."""
    paths = [key for key in settings if key != "hydra"]
    paths += [f"{group}.{key}" for group in paths if isinstance(settings[group], dict) for key in settings[group]]
    leaves = {path: path.rpartition(".")[2] for path in paths}
    initials = {path: "".join(word[:1] for word in leaf.split("_")) for path, leaf in leaves.items() if "_" in leaf}
    found = [path for path in paths if name != "name" and name in (leaves[path], initials.get(path))]
    return f" (did you mean {' or '.join(found)}?)" if found else ""
