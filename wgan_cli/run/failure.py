"""The end of a run that failed. Importing this does not import torch."""


class RunFailedError(RuntimeError):
    """A run could not go on: what happened, where the last good checkpoint is, and what to try."""
