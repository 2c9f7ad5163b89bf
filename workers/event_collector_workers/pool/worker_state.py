"""The states in the life of a worker."""

from enum import Enum


class State(Enum):
    """The states in the life of a worker. A worker only moves down this list."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"  # STOP was sent: the worker ends after its jobs
    LOST = "lost"  # its socket is closed; its process may still exist
    GONE = "gone"
