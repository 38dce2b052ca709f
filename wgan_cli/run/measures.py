"""The measures of a run: each gives some columns of metrics.csv."""

from typing import Protocol

from wgan_cli.training.state import TrainingState


class Measure(Protocol):
    """Numbers about a run. Reading them must not change what training does next.

    Attributes:
        columns: The names of the numbers.
    """

    columns: tuple[str, ...]

    def read(self, state: TrainingState) -> dict[str, float]:
        """Return the numbers that are known, by name."""


class TrainingMeans:
    """The means of losses and scores over the updates since the last row."""

    columns: tuple[str, ...] = ("critic_loss", "penalty", "generator_loss", "wasserstein_estimate")

    def read(self, state: TrainingState) -> dict[str, float]:
        """Return the means, in the order of the columns."""
        means = state.means.read()
        return {name: means[name] for name in self.columns if name in means}
