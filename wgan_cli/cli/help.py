"""What ``--help`` prints: the groups and their options, and each setting with what its YAML file says of it."""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from wgan_cli.cli.compose import HELP, MULTIRUN, composed, options, own
from wgan_cli.settings import CONF_DIR


def help_text(config_name: str, arguments: Sequence[str]) -> str | None:
    """Return the help, with the values that the other arguments choose; None if it is not asked for.

    Raises:
        HydraException: If the configuration cannot be composed.
    """
    if not HELP & set(arguments):
        return None
    words = [argument for argument in arguments if argument not in HELP | MULTIRUN]
    if MULTIRUN & set(arguments):  # a swept setting has no one value to show
        words = [word for word in words if word.startswith("-") or not _swept(word)]
    if (config := composed(config_name, words)) is None:
        return None
    groups = (f"{group}: {', '.join(names)}\n" for group, names in options(config_name, words).items())
    settings = _settings(config, CONF_DIR / f"{config_name}.yaml")
    template = string.Template(config.hydra.help.template)
    return template.substitute(APP_CONFIG_GROUPS="".join(groups), CONFIG="".join(f"{line}\n" for line in settings))


def _swept(word: str) -> bool:
    return bool(OverridesParser.create().parse_override(word).is_sweep_override())


def _settings(config: DictConfig, file: Path) -> Iterator[str]:
    """Write each setting, with its comment, as it is in the YAML file."""
    settings = cast("dict[str, Any]", OmegaConf.to_container(own(config), resolve=False))
    comments = _comments(file)
    for key, value in settings.items():
        if not isinstance(value, Mapping):
            yield _line(key, value, comments)
            continue
        yield f"{key}:"
        inner = {name.removeprefix(f"{key}."): comment for name, comment in comments.items()}
        if "name" in value:  # every part has an option of its name
            inner = _comments(CONF_DIR / key / f"{value['name']}.yaml")
        yield from (f"  {_line(name, setting, inner)}" for name, setting in value.items())


def _line(key: str, value: object, comments: Mapping[str, str]) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
    return f"{key}: {text}" + (f"  # {comments[key]}" if key in comments else "")


def _comments(file: Path) -> dict[str, str]:
    """Read the comments beside the settings in a YAML file; those inside ``log:`` are ``log.every`` and so on."""
    comments, outer = {}, ""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        if match := re.fullmatch(r"( *)(\w+):(?:.*?  # (.*)|.*)", line):
            indent, key, comment = match.groups()
            outer = outer if indent else key
            if comment:
                comments[f"{outer}.{key}" if indent else key] = comment
    return comments
