"""From the words of a command line to one composed configuration, without touching the disk.

Hydra's own way to run a command makes its folder before anybody has looked at the settings. So a single run is composed
here; sweeps and whatever only informs (--help, --cfg, completion) are left to Hydra, which knows them.
"""

import argparse
import copy
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from wgan_cli.cli.errors import UsageError
from wgan_cli.parameters import SettingError, bind, nearest
from wgan_cli.settings import CONF_DIR, Settings, groups

FLAGS = (
    "--cfg", "--config-dir", "--config-name", "--help", "--hydra-help", "--info", "--multirun",
    "--package", "--resolve", "--shell-completion", "--shell_completion", "--version",
    "-c", "-cd", "-cn", "-h", "-i", "-m", "-p", "-sc",
)  # fmt: skip
HELP, MULTIRUN, CFG = {"--help", "-h"}, {"--multirun", "-m"}, {"--cfg", "-c"}
COMPLETION = {"--shell-completion", "--shell_completion", "-sc"}
INSTEAD = (MULTIRUN, CFG, {"--info", "-i"}, COMPLETION)  # of a run, and only one of them


def check_flags(arguments: Sequence[str]) -> None:
    """Refuse flags that there are not, of which the usual one is a setting with dashes, and values without a key.

    Raises:
        UsageError: With the way to write it.
    """
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag.startswith("-") and flag not in FLAGS:
            setting = f"{flag.lstrip('-').replace('-', '_')}={value or '...'}"
            raise UsageError(f"{flag}: no such flag{nearest(flag, FLAGS)}; a setting is written key=value: {setting}")
        if re.search(r"\d{1000}", value):
            raise UsageError(f"{flag}: a number of {len(value):,} digits cannot be read")  # Python would not
        if not flag:
            raise UsageError(f"{argument!r} cannot be read; a setting is written key=value, as in n_critic=5")
    given = {argument.partition("=")[0] for argument in arguments}
    if given & {"--resolve", "--package", "-p"} and not given & CFG:
        raise UsageError("--resolve and --package go with --cfg")
    if given & COMPLETION and not {"install", "uninstall", "query"} & given:
        raise UsageError("--shell-completion: needs install=SHELL, uninstall=SHELL or query=SHELL")
    modes = [flag for flags in INSTEAD for flag in sorted(flags & given)[:1]]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)}: only one of these at a time")


def is_sweep(arguments: Sequence[str]) -> bool:
    """Say whether the arguments ask for a sweep."""
    return bool({*MULTIRUN, "hydra.mode=MULTIRUN"} & set(arguments))


def key_of(word: str) -> str:
    """Return the key of a setting on the command line, without the signs that add or remove it."""
    return word.lstrip("+~").partition("=")[0]


def composed(config_name: str, arguments: Sequence[str]) -> DictConfig | None:
    """Compose the configuration of a single run.

    Args:
        config_name: The primary configuration, unless the arguments name another.
        arguments: The words of the command line.

    Returns:
        The configuration, with Hydra's own part under ``hydra``; or None if this is for Hydra to run: a sweep, or a
        flag that only informs.

    Raises:
        HydraException: If it cannot be composed.
    """
    flags, words = _parse(config_name, arguments)
    return None if flags.cfg else _composed(flags, words)


def shown(config_name: str, arguments: Sequence[str]) -> str | None:
    """Return what ``--cfg job`` prints, the configuration of a single run as YAML; None if that is not asked for.

    Raises:
        HydraException: If it cannot be composed.
    """
    flags, words = _parse(config_name, arguments)
    config = _composed(flags, words) if flags.cfg == "job" else None
    if config is None:
        return None
    return OmegaConf.to_yaml(own(config), resolve=flags.resolve)


def options(config_name: str, arguments: Sequence[str]) -> dict[str, list[str]]:
    """Return the groups, and the names of each one's options."""
    flags, _ = _parse(config_name, arguments)
    with _initialized(flags):
        loader = GlobalHydra.instance().config_loader()
        return {group: loader.get_group_options(group) for group in loader.list_groups("") if group != "hydra"}


def _composed(flags: argparse.Namespace, words: list[str]) -> DictConfig | None:
    """Compose a single run's configuration; None if there are other flags, or it is a sweep."""
    if any(word.startswith("-") for word in words):
        return None
    with _initialized(flags):
        _check_options(words)
        config = compose(flags.config_name, words, return_hydra_config=True)
        chosen_wins(config, flags.config_name, words)
    if config.hydra.mode == RunMode.MULTIRUN:
        return None
    HydraConfig.instance().set_config(config)  # for ${hydra:...} in the run's folder
    return config


def chosen_wins(config: DictConfig, config_name: str, words: Sequence[str]) -> None:
    """Let options that the command line chooses beside a recipe win whole over what the recipe says of them.

    Hydra merges the two: a recipe's ``optimizer: {betas: ...}`` would stay when the command line chooses an optimizer
    that has none. (A dataset is another thing: a recipe's image size is to hold for each.)

    Args:
        config: As Hydra composed it; changed in place.
        config_name: The primary configuration.
        words: The settings on the command line that it was composed from. Hydra must be initialised.
    """
    keys = {word.partition("=")[0] for word in words}
    chosen = keys & {"generator", "critic", "loss", "constraint", "optimizer"}
    if "experiment" in keys and chosen:
        of_these = [word for word in words if key_of(word).partition(".")[0] in chosen]
        without_recipe = compose(config_name, of_these)
        for group in chosen:
            config[group] = without_recipe[group]


def check_sweep(config_name: str, arguments: Sequence[str]) -> None:
    """Compose every swept value once: Hydra makes the sweep's folder before it looks at them.

    Raises:
        HydraException: If one of them cannot be composed.
        SettingError: If none of them can be used.
    """
    flags, words = _parse(config_name, arguments)
    with _initialized(flags):
        overrides = _check_options([word for word in words if not word.startswith("-")])
        swept = [override for override in overrides if override.is_discrete_sweep()]
        fixed = [override.input_line or "" for override in overrides if override not in swept]
        for each in overrides:
            if each.is_sweep_override() and each not in swept:
                raise UsageError(f"{each.input_line}: has no values of its own; name them, as in n_critic=1,2")
        values = [[f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()] for each in swept]
        for each, found in zip(swept, values, strict=True):
            if not found:
                raise UsageError(f"{each.input_line}: there is no such option")
        mistakes: list[SettingError] = []
        count = max(map(len, values), default=1)
        for index in range(count):
            config = compose(flags.config_name, [*fixed, *(each[min(index, len(each) - 1)] for each in values)])
            try:
                bind(Settings, plain(config))
            except SettingError as error:  # that job will fail, and others may not
                mistakes.append(error)
        if len(mistakes) == count:
            raise mistakes[0]


def _check_options(words: Sequence[str]) -> list[Override]:
    """Refuse options that are no names, as in loss=null, over which Hydra stumbles; return all words, parsed.

    Raises:
        UsageError: If there is one.
    """
    loader = GlobalHydra.instance().config_loader()
    overrides = OverridesParser.create(loader).parse_overrides(list(words))
    with_options = {"hydra", *groups()}
    for override in (each for each in overrides if each.key_or_group in with_options):
        group = override.key_or_group
        values = list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]
        if override.is_add():
            raise UsageError(f"{override.input_line}: has an option already; choose another without the +")
        if not override.is_delete() and not all(isinstance(value, str | QuotedString) for value in values):
            names = ", ".join(loader.get_group_options(group))
            usual = "there is no recipe" if group == "experiment" else "it is the usual one"
            raise UsageError(f"{override.input_line}: is no name of an option; there is {names}; without it {usual}")
    return overrides


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parse(config_name: str, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split off the flags that say where the configuration lies, and what to show of it."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--config-name", "-cn", default=config_name)
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--resolve", action="store_true")
    parser.set_defaults(command=config_name)
    flags, words = parser.parse_known_args(list(arguments))
    if flags.config_dir is not None and not flags.config_dir.is_dir():
        raise UsageError(f"--config-dir {flags.config_dir}: no such folder")
    return flags, words


@contextmanager
def _initialized(flags: argparse.Namespace) -> Iterator[None]:
    """Let Hydra compose from conf/ and from the user's own folder."""
    UserOptions.folder = flags.config_dir
    Plugins.instance().register(UserOptions)
    with initialize_config_dir(str(CONF_DIR), job_name=f"wgan-{flags.command}", version_base="1.3"):
        UserOptions.folder = None
        try:
            yield
        except UnicodeDecodeError as error:
            raise UsageError(f"--config-dir {flags.config_dir}: a file in it is no UTF-8 text ({error})") from error


class UserOptions(SearchPathPlugin):
    """Adds the folder of ``--config-dir`` to where options are looked up, as Hydra's own main does."""

    folder: Path | None = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put the folder last but for the schemas: it adds options and shadows none."""
        if self.folder is not None:
            search_path.prepend("command-line", f"file://{self.folder.resolve()}", SearchPathQuery(provider="schema"))


def hand_to_hydra(config_name: str, task: Callable[[DictConfig], None]) -> None:
    """Let Hydra parse the process's arguments and run the task, once for each job of a sweep."""
    # Its parser wants the settings in one piece; people put a flag between them.
    words = sys.argv[1:]
    sys.argv[1:] = sorted(words, key=lambda word: word.startswith("-") or not ("=" in word or word.startswith("~")))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it raises its errors then, instead of printing them and exiting with 1
    try:
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)(task)()
    except SystemExit as error:
        raise SystemExit(2 if error.code == 1 else error.code) from None  # what it says itself are mistakes


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the settings as plain data, interpolations resolved, without Hydra's own part.

    Raises:
        OmegaConfBaseException: If a mandatory value is missing, or an interpolation leads nowhere.
    """
    return cast("dict[str, Any]", OmegaConf.to_container(own(config), resolve=True, throw_on_missing=True))


def own(config: DictConfig) -> DictConfig:
    """Return a configuration without Hydra's own part; interpolations stay as they are."""
    return OmegaConf.create({key: value for key, value in config.items_ex(resolve=False) if key != "hydra"})


def unchanging_folder(config: Any) -> Path:
    """Return the folder that the pattern in ``dir``, such as outputs/${now:...}/..., leads into at any time."""
    pattern = str(cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))["dir"])
    before, changes, _ = pattern.partition("${now:")
    if not changes:
        return Path(config.dir)
    whole = copy.deepcopy(config)  # which knows what is around it, for other interpolations
    OmegaConf.set_readonly(whole, False)
    whole.dir = before[: before.rfind("/") + 1]
    return Path(whole.dir)
