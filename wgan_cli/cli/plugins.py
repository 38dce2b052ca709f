"""The options of a user's own parts, which have no YAML files."""

from hydra.core.config_store import ConfigStore

from wgan_cli.cli.command_line import CommandLine
from wgan_cli.parameters import check_value


def add_plugins(line: CommandLine) -> None:
    """Import the files that the command line names in ``plugins``, and make options of their parts.

    Raises:
        SettingError: If one cannot be imported.
    """
    given = [override.value() for override in line.overrides if override.key_or_group == "plugins"]
    if given:
        from wgan_cli.build.plugins import import_plugins, make_options  # imports torch

        import_plugins(check_value(given[-1], tuple[str, ...], "plugins"))
        for (group, name), settings in make_options().items():
            ConfigStore.instance().store(name, settings, group)
