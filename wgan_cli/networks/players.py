"""The interfaces of the two players. The other files of ``networks`` implement them."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Batch(NamedTuple):
    """Samples, and their classes if training uses them. Both players are called as ``player(*batch)``.

    Attributes:
        samples: Images, float32 (batch, channels, height, width) in [-1, 1], or latents, float32 (batch, latent_dim).
        classes: int64 (batch,), from 0 up, or None.
    """

    samples: Tensor
    classes: Tensor | None = None


class Generator(nn.Module):
    """Maps latents (batch, latent_dim), drawn from N(0, I), to samples such as images in [-1, 1].

    ``forward`` takes the latents and ``classes``, int64 (batch,) or None.

    Attributes:
        latent_dim: Dimensions of a latent.
        num_classes: The number of classes that it was built for, or None.
        class_names: Their names, in a generator that was trained or loaded.
    """

    latent_dim: int
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()


class Critic(nn.Module):
    """Maps samples to unbounded scores (batch,), without a sigmoid and without a mean over the batch.

    ``forward`` takes the samples and ``classes``, int64 (batch,) or None.
    """


def mixes_samples(network: nn.Module) -> bool:
    """Return whether an output depends on the other samples of the batch, as it does with BatchNorm."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())
