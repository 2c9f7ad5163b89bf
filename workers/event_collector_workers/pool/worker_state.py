"""The states of a worker, as the parent sees it."""

from enum import Enum
from typing import Final

SILENT: Final = "its standard error may say why"
"""The complaint of a process that ended while it started, without a message."""


class State(Enum):
    """The states in the life of a worker. A worker only moves down this list."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"  # STOP was sent: the worker ends after its jobs
    LOST = "lost"  # its socket is closed; its process may still exist
    GONE = "gone"
