"""The birth of a worker: its number and group, and the niceness and CPUs that it takes on."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from event_collector_workers.environment import WorkerEnvironment


class Birth(NamedTuple):
    """A worker among all workers that a pool starts. No two have the same birth."""

    number: int
    """The lowest number, from 0, that no worker of the pool had. A worker that replaces another one has its number."""
    start: int
    """How many workers had the number before."""


class _Self(threading.local):
    """The number and the group of a thread that stands in for a worker."""

    number: int | None = None
    group: str | None = None


_here = _Self()
_born: list[tuple[Birth, str]] = []
"""The birth and the group of this process, if it is a worker. `settle` writes it once."""


def worker_number() -> int | None:
    """Return the number of the worker process that calls this: 0 to `max_workers - 1`; None in the program itself.

    Each worker group counts from 0: `worker_group()` and this number together name a worker of a queue. A worker that
    replaces another one has the same number. While it does, both processes may be alive for a moment.
    """
    return _born[0][0].number if _born else _here.number


def worker_group() -> str | None:
    """Return the name of the group of the worker process that calls this; None in the program itself.

    Workers of collectors without `workers=`, and of executors, belong to the group "default".
    """
    return _born[0][1] if _born else _here.group


@contextmanager
def standing_in(number: int, group: str) -> Iterator[None]:
    """Have this thread have a number and a group meanwhile: it does the work of a worker."""
    _here.number, _here.group = number, group
    try:
        yield
    finally:
        _here.number = _here.group = None


def settle(birth: Birth, environment: WorkerEnvironment) -> None:
    """Take on number, group, niceness and CPUs. Raises OSError, which names what the system refuses."""
    _born[:] = [(birth, environment.group)]
    if environment.nice:
        os.nice(environment.nice)
    cpus = environment.cpus_of(birth.number)
    if cpus:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            text = f"worker_affinity: this worker cannot have CPUs {', '.join(map(str, cpus))}: {error.strerror}"
            raise OSError(error.errno, text) from error
