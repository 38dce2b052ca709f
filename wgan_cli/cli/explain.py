"""Errors as the user reads them, Hydra's included, and the exit code of each."""

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from wgan_cli.cli.command_line import PATHS
from wgan_cli.cli.synonyms import suggest_option, suggest_setting
from wgan_cli.errors import InputError, RunFailedError, UsageError, as_typed, describe_os_error, make_printable, suggest
from wgan_cli.settings import GROUPS
from wgan_cli.signals import restore_interrupts

BUG = 1
LONGEST_LINE = 2000  # characters
RECIPE_WITHOUT_PACKAGE = "experiment: a recipe's file must start with the line '# @package _global_'"
HYDRA_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def get_exit_code(error: BaseException) -> int:
    """Return the exit code of an error: 2 for the user's mistakes, 3 for failed runs, 1 for bugs."""
    if isinstance(error, HYDRA_ERRORS):
        return InputError.exit_code
    if isinstance(error, OSError):
        return RunFailedError.exit_code
    return error.exit_code if isinstance(error, InputError | RunFailedError) else BUG


def run_command(command: Callable[[Sequence[str]], None], words: Sequence[str]) -> int:
    """Run a command, print the error that ends it, and return the exit code."""
    try:
        with restore_interrupts():
            _require_working_folder()
            command(words)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0
    except (*HYDRA_ERRORS, InputError, RunFailedError, OSError) as error:
        print(f"wgan-{command.__name__}: {explain(error)}", file=sys.stderr)
        return get_exit_code(error)
    return 0


def _require_working_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("the working folder does not exist any more; change to another one") from error


def explain(error: BaseException) -> str:
    """Return the message of an error: a line or two."""
    lines = (line[:LONGEST_LINE] for line in _explain(error).splitlines())
    return "\n".join(map(make_printable, lines))


def _explain(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, HYDRA_ERRORS):
        return describe_os_error(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    text, cause = str(error), error.__cause__
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        names = ", ".join(error.options)
        return f"{group}={option}: no such option{suggest_option(group, option, error.options)}; must be one of {names}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not a setting; {_explain_syntax(error.override)}"
    if isinstance(cause, OmegaConfBaseException) and "Could not override" in text:
        return _explain_unknown_key(text, cause)
    if match := re.search(r"Could not append to config. An item is already at '([^']*)'", text):
        return f"{match[1]}: already exists; leave out the +"
    if "@experiment." in text:
        return RECIPE_WITHOUT_PACKAGE
    if match := re.search(r"Could not override '([^']*)'\.\s*No match in the defaults list", text):
        return f"{match[1]}: no such group; must be one of {', '.join(GROUPS)}"
    if match := re.match(r"Multiple values for (\S+)\. ", text):
        return f"{match[1]}: an option is chosen in two files; write '- override /{match[1]}: ...' in the recipe"
    if isinstance(error, InterpolationResolutionError) and error.full_key:
        return f"{error.full_key}: {text.splitlines()[0]}"
    if isinstance(error, InstantiationException):
        return text.partition(", set env var HYDRA_FULL_ERROR=1")[0]
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: must be set, as {error.full_key}=..."
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        text = f"{text}\n{cause}"
    needless = ("full_key:", "object_type=", "Config search path", "provider=")
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join([line for line in lines if line and not line.startswith(needless)][:2])


def _explain_syntax(override: str) -> str:
    key, equals, value = override.partition("=")
    if (match := re.fullmatch(r"\((.*)\)", value)) and key not in PATHS:
        return f"for a list, write {shlex.quote(f'{key}=[{match[1]}]')}"
    is_text = key in PATHS or re.fullmatch(r"[^=\"'\[\]{}\\\n][^\"'\[\]{}\\\n]*", value)
    if re.fullmatch(r"[\w.]+", key, re.ASCII) and is_text and equals:
        return f"quote a value with special characters twice: {as_typed(key, value)}"
    return "check its signs, quotes and brackets" if equals else "write it as key=value, such as n_critic=5"


def _explain_unknown_key(text: str, cause: OmegaConfBaseException) -> str:
    match = re.search(r"Could not override '([^']*)'", text)
    key = match[1] if match else str(cause.full_key)
    if key == "experiment":
        return "experiment: no such recipe; use --config-dir DIR for a recipe in DIR/experiment/NAME.yaml"
    if key.startswith("hydra."):
        return f"{key}: Hydra has no such setting; to add it, write +{key}=..."
    parent = cause.parent_node
    around = OmegaConf.to_container(parent, resolve=False) if parent is not None else {}
    settings = {str(name): value for name, value in around.items()} if isinstance(around, dict) else {}
    known = sorted(name for name in settings if name not in ("hydra", "name"))
    prefix, _, name = key.rpartition(".")
    if prefix and not known and "." not in prefix and prefix not in GROUPS:
        return f"{key}: {prefix} has no settings; set all of it, as {prefix}={{{name}: ...}}"
    meant = suggest_setting(name) or suggest(name, known) or _suggest_elsewhere(name, settings)
    where = f" in {prefix}" if prefix else ""
    return f"{key}: no such setting{where}{meant}" + (f"; must be one of {', '.join(known)}" if known else "")


def _suggest_elsewhere(name: str, settings: Mapping[str, Any]) -> str:
    """Return `` (did you mean …?)`` for a setting that is inside a group, or for initials such as lr; else nothing."""
    paths = [key for key in settings if key != "hydra"]
    paths += [f"{group}.{key}" for group in paths if isinstance(settings[group], dict) for key in settings[group]]
    leaves = {path: path.rpartition(".")[2] for path in paths}
    initials = {path: "".join(word[:1] for word in leaf.split("_")) for path, leaf in leaves.items() if "_" in leaf}
    found = [path for path in paths if name != "name" and name in (leaves[path], initials.get(path))]
    return f" (did you mean {' or '.join(found)}?)" if found else ""
