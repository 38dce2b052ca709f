"""The command ``wgan-sample``."""

from collections.abc import Sequence

from omegaconf import DictConfig

from wgan_cli.cli.command_line import parse_command_line, read_key
from wgan_cli.cli.compose import run_with_hydra, to_plain
from wgan_cli.cli.help import answer
from wgan_cli.cli.plugins import add_plugins
from wgan_cli.errors import SettingError, UsageError
from wgan_cli.parameters import bind
from wgan_cli.settings import SampleSettings

# Settings that apply to images, not to ``export``.
OF_IMAGES = ("mode", "num_images", "seed", "classes", "truncation", "latents", "stops")


def sample(words: Sequence[str]) -> None:
    """Draw what the words of the command line ask for."""
    line = parse_command_line("sample", words)
    if line.is_sweep:
        raise UsageError("-m: wgan-sample draws from one checkpoint at a time")
    add_plugins(line)
    if (text := answer(line)) is not None:
        print(text, end="")
        return
    given = {read_key(word) for word in line.settings}

    def task(config: DictConfig) -> None:
        settings = bind(SampleSettings, to_plain(config))
        for key in OF_IMAGES:
            if settings.export is not None and key in given:
                allowed = f"cannot be combined with export={settings.export}, which writes no images"
                raise SettingError(key, getattr(settings, key), allowed)

        from wgan_cli.build.samples import render_samples  # imports torch, so check the settings first

        print(render_samples(settings))

    run_with_hydra(line, task)
