"""Readings of the worker processes, for the monitor."""

from typing import NamedTuple


class WorkerReading(NamedTuple):
    """The worker processes at one instant; seconds and bytes."""

    size: int
    busy: int
    starting: int
    outstanding: int
    """Events the workers have, or will get from their pool's backlog."""
    cpu: float
    delay: float
    """Seconds that workers were ready to run and had no CPU, so far."""
    startup: float | None
    memory: int | None
    cpu_in_all: float = 0.0
    """Like `cpu`, with what it took to start them, and those that have ended."""
