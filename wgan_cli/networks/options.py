"""Settings that several networks share.

- ``latent_dim``: dimensions of a latent.
- ``normalization``: ``none``, ``batch`` (over the batch) or ``layer`` (over all features of one sample). Each network
  says which of its layers it applies to.
- ``normalization_eps``: added to the variance.
- ``initialization``: ``default`` keeps the weights that torch's layers draw; ``normal`` draws DCGAN's N(0, std²).
- ``initialization_std``: the standard deviation for ``normal``.
"""

from typing import Annotated, Literal

from wgan_cli.parameters import Range

Width = Annotated[int, Range(1, 16384)]
Widths = Annotated[tuple[Width, ...], Range(high=100)]
Positive = Annotated[float, Range(above=0)]
Activation = Literal["leaky_relu", "relu", "tanh"]
Normalization = Literal["none", "batch", "layer"]
Initialization = Literal["default", "normal"]
