"""A handler that uses no library."""

import os


def parent(_: int) -> int:
    """Return the process that has started this worker."""
    return os.getppid()
