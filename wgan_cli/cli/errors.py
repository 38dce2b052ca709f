"""What went wrong, in a line or two, and with which exit code."""

import re
import sys
from collections.abc import Callable

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from wgan_cli.parameters import SettingError, nearest
from wgan_cli.run.failure import RunFailedError

BUG, REFUSED, FAILED, INTERRUPTED = 1, 2, 3, 130


class UsageError(ValueError):
    """Words on the command line that mean nothing."""


USER_MISTAKES = (SettingError, UsageError, HydraException, OmegaConfBaseException, yaml.YAMLError)


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error ends the process with."""
    if isinstance(error, USER_MISTAKES):
        return REFUSED
    return FAILED if isinstance(error, RunFailedError) else BUG


def report(program: str, command: Callable[[], int]) -> None:
    """Run a command, say what went wrong, and end the process with its exit code."""
    try:
        code = command()
    except (*USER_MISTAKES, RunFailedError) as error:
        print(f"{program}: {explain(error)}", file=sys.stderr)
        code = exit_code(error)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def explain(error: BaseException) -> str:
    """Say in a line or two what the user wrote, why it cannot be, and what can."""
    text = str(error)
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option}: no such option{nearest(option, error.options)}; there is {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; a setting is written key=value, as in n_critic=5"
    if isinstance(cause, OmegaConfBaseException) and "Could not override" in text:
        return _unknown_key(text, cause)
    if match := re.search(r"Ambiguous value for argument '(.*?)'", text) or re.search(r"argument '(.*?,.*?)'", text):
        return f"{match[1]}: several values are for a sweep; add -m"
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


def _unknown_key(text: str, cause: OmegaConfBaseException) -> str:
    match = re.search(r"Could not override '([^']*)'", text)
    key = match[1] if match else str(cause.full_key)
    if key == "experiment":
        return (
            "experiment: no such recipe; put it into a folder of yours, as DIR/experiment/NAME.yaml: --config-dir DIR"
        )
    parent = cause.parent_node
    known = [str(name) for name in parent] if parent is not None and OmegaConf.is_dict(parent) else []
    known = [name for name in known if name not in ("hydra", "name")]
    prefix, _, name = key.rpartition(".")
    if prefix and not known:
        return f"{key}: {prefix} has no settings as it is; give it whole, as in {prefix}={{{name}: ...}}"
    where = f" in {prefix}" if prefix else ""
    return f"{key}: no such setting{nearest(name, known)}; there is {', '.join(sorted(known)) or 'none'}{where}"
