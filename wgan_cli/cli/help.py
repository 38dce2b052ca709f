"""The texts of --help and --cfg job."""

import re
import string
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf

from wgan_cli.cli.command_line import CommandLine, list_options
from wgan_cli.cli.compose import compose_config, initialize_hydra, remove_hydra
from wgan_cli.settings import CONF_DIR, GROUPS


def answer(line: CommandLine) -> str | None:
    """Return the text that a command line asks for instead of a run, or None.

    Raises:
        HydraException: If the configuration cannot be composed.
    """
    if line.flags.version:
        return f"wgan-cli {version('wgan-cli')}\n"
    if not line.flags.help and line.flags.cfg != "job":
        return None
    fixed = [override for override in line.overrides if not override.is_sweep_override()]
    with initialize_hydra(line):
        config = compose_config(line, [override.input_line or "" for override in fixed])
    if not line.flags.help:
        return _format_config(line, config)
    chosen = [override.key_or_group for override in fixed if override.key_or_group in GROUPS]
    if chosen and "experiment" not in chosen:
        return "".join(f"{text}\n" for group in chosen for text in _format_group(line, config, group))
    return _format_page(line, config)


def _format_config(line: CommandLine, config: DictConfig) -> str:
    """Return the configuration, or the part of it that --package names, as YAML."""
    shown = remove_hydra(config)
    if line.flags.resolve:
        OmegaConf.resolve(shown)
    package = line.flags.package
    if package in (None, "_global_"):
        return OmegaConf.to_yaml(shown)
    part = OmegaConf.select(shown, package)
    return f"# @package {package}\n{OmegaConf.to_yaml(part)}" if OmegaConf.is_config(part) else f"{part}\n"


def _format_page(line: CommandLine, config: DictConfig) -> str:
    """Return the help page: examples, groups with their options, and settings with their comments."""
    groups = {} if line.command == "sample" else {group: list_options(group, line.flags.config_dir) for group in GROUPS}
    template = string.Template(config.hydra.help.template)
    settings = "".join(f"{text}\n" for text in _format_settings(config, CONF_DIR / f"{line.command}.yaml"))
    options = "".join(f"{group}: {', '.join(names)}\n" for group, names in groups.items())
    return template.substitute(APP_CONFIG_GROUPS=options, CONFIG=settings)


def _format_group(line: CommandLine, config: DictConfig, group: str) -> Iterator[str]:
    """Return the settings of a group's chosen option."""
    plain = cast("dict[str, Any]", OmegaConf.to_container(remove_hydra(config), resolve=False))
    option = line.find(group)
    folders = [line.flags.config_dir, CONF_DIR] if line.flags.config_dir else [CONF_DIR]
    file = next((path for folder in folders if (path := folder / group / f"{option}.yaml").is_file()), None)
    comments = _read_comments(file) if file else {}
    yield f"{group}={option}"
    yield from (f"  {comment}" for comment in _read_heading(file))
    yield from (f"  {_format_setting(key, value, comments)}" for key, value in plain[group].items() if key != "name")


def _format_settings(config: DictConfig, file: Path) -> Iterator[str]:
    """Return each setting with its comment in the YAML file."""
    settings = cast("dict[str, Any]", OmegaConf.to_container(remove_hydra(config), resolve=False))
    comments = _read_comments(file)
    for key, value in settings.items():
        if not isinstance(value, Mapping):
            yield _format_setting(key, value, comments)
            continue
        yield f"{key}:"
        inner = {name.removeprefix(f"{key}."): comment for name, comment in comments.items()}
        if "name" in value:  # the name of a part is the name of its option
            inner = _read_comments(CONF_DIR / key / f"{value['name']}.yaml")
        yield from (f"  {_format_setting(name, setting, inner)}" for name, setting in value.items())


def _format_setting(key: str, value: object, comments: Mapping[str, str]) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
    return f"{key}: {text}" + (f"  # {comments[key]}" if key in comments else "")


def _read_heading(file: Path | None) -> list[str]:
    """Return the comment at the top of a YAML file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    heading = lines[: next((i for i, text in enumerate(lines) if not text.startswith("#")), 0)]
    return [text.removeprefix("#").strip() for text in heading]


def _read_comments(file: Path) -> dict[str, str]:
    """Return the comments beside the settings of a YAML file; those inside ``log:`` as ``log.every``."""
    comments, outer = {}, ""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        if match := re.fullmatch(r"( *)(\w+):(?:.*?  # (.*)|.*)", line):
            indent, key, comment = match.groups()
            outer = outer if indent else key
            if comment:
                comments[f"{outer}.{key}" if indent else key] = comment
    return comments
