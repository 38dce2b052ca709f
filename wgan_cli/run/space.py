"""How much disk the checkpoints of a run take, and whether it is there."""

import shutil
from pathlib import Path

from torch.optim import Optimizer

from wgan_cli.parameters import SettingError
from wgan_cli.run.cadence import Cadence
from wgan_cli.training.state import TrainingState, slots


def checkpoint_bytes(state: TrainingState) -> int:
    """Return the size of one checkpoint: networks, average, and what the optimizers will remember of each weight."""
    networks = [state.generator, state.critic, *([state.ema] if state.ema else [])]
    total: int = sum(tensor.nbytes for network in networks for tensor in network.state_dict().values())
    optimizers: list[Optimizer] = [state.generator_optimizer, state.critic_optimizer]
    for optimizer in optimizers:
        per_weight = sum(not is_scalar for is_scalar in slots(optimizer).values())
        total += per_weight * sum(weight.nbytes for group in optimizer.param_groups for weight in group["params"])
    return total


def checkpoint_files(state: TrainingState, cadence: Cadence, keep: int | None) -> int:
    """Return how many checkpoints the rest of a run leaves: one for every so many epochs, and at most ``keep``."""
    epochs = -(-cadence.total_updates // cadence.updates_per_epoch) - cadence.epochs_done(state)
    files = max(1, -(-epochs // cadence.checkpoint_every))
    return files if keep is None else min(files, keep)


def check_space(folder: Path, key: str, size: int, files: int) -> str | None:
    """Compare the free disk with what the checkpoints will take.

    Args:
        folder: Where the run's folder is, or will be.
        key: The setting that named it, for messages.
        size: Of one checkpoint, in bytes.
        files: How many there will be.

    Returns:
        A warning, if there is no room for all of them: training may be stopped before.

    Raises:
        SettingError: If there is no room for two: a new one is whole before an old one goes.
    """
    existing = next(place for place in [folder, *folder.absolute().parents] if place.exists())
    free = shutil.disk_usage(existing).free
    if free < 2 * size:
        allowed = f"needs {2 * size / 1e6:,.1f} MB for two checkpoints, and {existing} has {free / 1e6:,.1f} MB left"
        raise SettingError(key, folder, allowed)
    needed = (files + 1) * size
    if free < needed:
        return (
            f"the checkpoints will take {needed / 1e6:,.1f} MB, and {existing} has {free / 1e6:,.1f} MB left; "
            "checkpoint.keep=3 keeps the newest three"
        )
    return None
