"""The same handler in a module that imports NumPy."""

import os

import numpy as np

rng = np.random.default_rng()


def parent(_: int) -> int:
    """Return the process that has started this worker."""
    return os.getppid()
