"""The words of a command line, parsed once."""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString, ValueType

from wgan_cli.cli.synonyms import translate
from wgan_cli.errors import UsageError, as_typed, suggest
from wgan_cli.settings import CONF_DIR, GROUPS

SWITCHES = (
    ("--help", "-h"),
    ("--hydra-help",),
    ("--version",),
    ("--multirun", "-m"),
    ("--resolve",),
    ("--shell-completion", "--shell_completion", "-sc"),
)
PATHS = ("out", "resume", "dataset.root", "checkpoint", "latents")  # settings that are any text
HEADER = r"#\s*@package\s+_global_\s*"  # of a recipe
INSTEAD_OF_A_RUN = ("multirun", "cfg", "info", "shell_completion", "hydra_help")  # mutually exclusive


@dataclass(frozen=True)
class CommandLine:
    """The words of a command line.

    Attributes:
        command: ``train`` or ``sample``.
        words: All of them, as typed.
        flags: The flags and their values.
        settings: The words that are settings.
        overrides: The same, parsed by Hydra's grammar.
    """

    command: str
    words: tuple[str, ...]
    flags: argparse.Namespace
    settings: tuple[str, ...]
    overrides: tuple[Override, ...]

    @property
    def is_sweep(self) -> bool:
        """Whether it asks for a sweep."""
        return self.flags.multirun or "hydra.mode=MULTIRUN" in self.settings

    def for_hydra(self, more: Sequence[str] = ()) -> list[str]:
        """Return the words and more settings in the order that Hydra's parser accepts: all settings together."""
        return [*self.settings, *more, *(word for word in self.words if word not in self.settings)]

    def force(self, key: str) -> "CommandLine":
        """Return the command line with a setting forced, as Hydra's ++ does, whatever option is chosen."""

        def change(words: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(f"++{word.lstrip('+')}" if read_key(word) == key else word for word in words)

        return replace(self, words=change(self.words), settings=change(self.settings))

    def find(self, key: str) -> str | None:
        """Return the value of a setting as typed, without quotes, or None."""
        typed = [word.partition("=")[2] for word in self.settings if read_key(word) == key]
        return typed[-1].strip("\"'") if typed else None


def parse_command_line(command: str, words: Sequence[str]) -> CommandLine:
    """Parse the words of a command line.

    Raises:
        UsageError: If a flag does not exist, or a word is not a setting.
        HydraException: If a setting is not written in Hydra's grammar.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    for names in SWITCHES:
        parser.add_argument(*names, action="store_true")
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--config-name", "-cn", default=command)
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    if any(word.endswith("\r") for word in words):
        raise UsageError("the script has Windows line ends; remove them with: sed -i 's/\\r$//' SCRIPT")
    flags, settings = parser.parse_known_args(list(words))
    known = [*(names[0] for names in SWITCHES), "--config-dir", "--config-name", "--cfg", "--package", "--info"]
    for word in settings:
        key, _, value = word.partition("=")
        if key.startswith("-"):
            name = key.lstrip("-").replace("-", "_")
            ours = translate(name)
            advice = f"; write a setting as key=value: {ours or name}={value or '...'}"
            raise UsageError(f"{key}: no such flag{(not ours and suggest(key, known)) or advice}")
        if not key or ("=" not in word and not word.startswith("~")):
            raise UsageError(
                f"{word!r} is not a setting; write it as key=value, such as {_find_example(command, word)}"
            )
    _check_flags(flags, settings)
    overrides = () if flags.shell_completion else tuple(OverridesParser.create().parse_overrides(settings))
    line = CommandLine(command, tuple(words), flags, tuple(settings), overrides)
    _check_options(line)
    return line


def read_key(word: str) -> str:
    """Return the key of a setting, without a prefix such as + or ~."""
    return word.lstrip("+~").partition("=")[0]


def _find_example(command: str, word: str) -> str:
    """Return a setting with a word that was typed alone, if it is an option, a file or a folder."""
    options = {name: group for group in GROUPS for name in list_options(group)}
    if command == "sample":
        return as_typed("checkpoint", word) if word else "num_images=100"
    if word in options:
        return f"{options[word]}={word}"
    return as_typed("resume", word) if word and Path(word).exists() else "n_critic=5"


def _check_flags(flags: argparse.Namespace, settings: Sequence[str]) -> None:
    if (flags.resolve or flags.package) and not flags.cfg:
        raise UsageError("--resolve and --package need --cfg")
    if flags.config_dir is not None and not flags.config_dir.is_dir():
        raise UsageError(f"--config-dir {flags.config_dir}: no such folder")
    for file in [] if flags.config_dir is None else flags.config_dir.glob("*/*.yaml"):
        try:
            file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"--config-dir {flags.config_dir}: {file} is not UTF-8 text ({error})") from error
        except OSError as error:
            raise UsageError(f"--config-dir {flags.config_dir}: {file} cannot be read ({error.strerror})") from error
    if flags.shell_completion and not {"install", "uninstall", "query"} & {word.partition("=")[0] for word in settings}:
        raise UsageError("--shell-completion needs install=SHELL, uninstall=SHELL or query=SHELL")
    modes = [mode for mode in INSTEAD_OF_A_RUN if getattr(flags, mode)]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(f'--{mode}'.replace('_', '-') for mode in modes)} cannot be combined")


def _check_options(line: CommandLine) -> None:
    """Refuse several values without a sweep, Hydra's folders, deletions, and options that are not names."""
    for override in line.overrides:
        group, word = override.key_or_group, override.input_line
        if group in ("hydra.run.dir", "hydra.sweep.dir", "hydra.output_subdir"):
            raise UsageError(f"{group}: set the folder with out=FOLDER")
        if override.is_delete() and group.partition(".")[0] != "hydra":
            raise UsageError(f"{word}: a setting cannot be deleted; leave it out for its default")
        as_text = as_typed(group, (word or "").partition("=")[2])
        if group in PATHS and not override.is_sweep_override() and not isinstance(override.value(), str | None):
            raise UsageError(f"{word}: must be text; quote it twice: {as_text}")
        if override.is_sweep_override() and not (line.is_sweep or line.flags.help):
            hints = ["for a sweep, add -m"] if line.command == "train" else []
            as_list = shlex.quote(f"{group}=[{(word or '').partition('=')[2]}]")
            if group in PATHS:
                hints.append(f"for a comma in the value, quote it twice: {as_text}")
            elif group not in GROUPS:
                hints.append(f"for a list, write {as_list}")
            raise UsageError(f"{word}: several values; {'; '.join(hints)}")
        if group not in GROUPS:
            continue
        if line.flags.config_dir is not None and override.value_type is ValueType.ELEMENT:
            _check_file(line.flags.config_dir / group / f"{override.value()}.yaml", is_recipe=group == "experiment")
        if override.is_add():
            raise UsageError(f"{word}: {group} already has an option; leave out the +")
        several = override.value_type in (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP)
        values = list(override.sweep_iterator()) if several else [override.value()]
        if not all(isinstance(value, str | QuotedString | Glob) for value in values):
            names = ", ".join(list_options(group, line.flags.config_dir))
            default = "no recipe" if group == "experiment" else "the default"
            raise UsageError(f"{word}: must be one of {names}; leave out {group}= for {default}")


def _check_file(file: Path, is_recipe: bool) -> None:
    """Refuse a user's option that Hydra would not find, or would take for something else.

    Raises:
        UsageError: With the file and the line.
    """
    if file.with_suffix(".yml").is_file() and not file.is_file():
        raise UsageError(f"{file.with_suffix('.yml')}: must be called {file.name}")
    if not is_recipe or not file.is_file():
        return
    lines = file.read_text(encoding="utf-8").splitlines()
    header = next((number for number, text in enumerate(lines, 1) if re.fullmatch(HEADER, text)), None)
    if lines and lines[0].startswith("\ufeff"):
        raise UsageError(f"{file}, line 1: starts with a byte order mark; save the file as UTF-8 without one")
    if header is None:
        raise UsageError(f"{file}, line 1: must be '# @package _global_', as in every recipe")
    if any(text.strip() for text in lines[: header - 1]):
        raise UsageError(f"{file}, line {header}: '# @package _global_' must be the first line")


def list_options(group: str, config_dir: Path | None = None) -> list[str]:
    """Return the names of a group's options, including the user's."""
    folders = [CONF_DIR, *([config_dir] if config_dir else [])]
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(re.sub(r"^argument ", "", message))
