"""The command ``wgan-sample``."""

from collections.abc import Sequence

from omegaconf import DictConfig

from wgan_cli import __version__
from wgan_cli.cli.compose import check_flags, composed, hand_to_hydra, is_sweep, plain
from wgan_cli.cli.errors import UsageError
from wgan_cli.cli.help import help_text
from wgan_cli.parameters import SettingError, bind, path_of
from wgan_cli.settings import SampleSettings


def sample(arguments: Sequence[str]) -> int:
    """Render what the arguments ask for; return the exit code."""
    if "--version" in arguments:
        print(f"wgan-cli {__version__}")
        return 0
    check_flags(arguments)
    if is_sweep(arguments):
        raise UsageError("-m: wgan-sample renders one checkpoint at a time")
    if (text := help_text("sample", arguments)) is not None:
        print(text, end="")
        return 0
    config = composed("sample", arguments)
    if config is None:
        hand_to_hydra("sample", _render)
    else:
        _render(config)
    return 0


def _render(config: DictConfig) -> None:
    settings = bind(SampleSettings, plain(config))
    _check_export(settings)

    from wgan_cli.export import export  # imports torch: not before the settings have been looked at
    from wgan_cli.modes import write_samples
    from wgan_cli.restore import load_generator
    from wgan_cli.run.checkpoints import is_checkpoint
    from wgan_cli.run.failure import failures

    with failures({"num_images": settings.num_images}):
        checkpoint = path_of(settings.checkpoint, "checkpoint")
        generator = load_generator(checkpoint, settings.device)
        if settings.export is None:
            print(write_samples(generator, settings))
            return
        out = None if settings.out is None else path_of(settings.out, "out")
        if out is not None and is_checkpoint(out):
            raise SettingError("out", out, "is a checkpoint; training goes on from it, and not from what is exported")
        print(export(generator.cpu(), settings.export, out))


def _check_export(settings: SampleSettings) -> None:
    """Refuse what is about images where the generator itself is to be written.

    Raises:
        SettingError: If something of that kind is set.
    """
    usual = {
        "mode": "grid",
        "num_images": None,
        "classes": None,
        "truncation": None,
        "latents": None,
        "seed": 0,
        "stops": 4,
    }
    for key, value in usual.items():
        if settings.export is not None and getattr(settings, key) != value:
            allowed = f"is about images, and export={settings.export} writes none; leave one of the two out"
            raise SettingError(key, getattr(settings, key), allowed)
