"""The handlers: one looks at each page of an array and returns a number, one returns an array of the same size."""

from typing import Any

import numpy as np

PAGE = 512  # numbers of 8 bytes


def total(array: Any) -> float:
    """Read a number of each page."""
    return float(array[::PAGE].sum())


def negated(array: Any) -> Any:
    """Return another array."""
    return np.negative(array)
