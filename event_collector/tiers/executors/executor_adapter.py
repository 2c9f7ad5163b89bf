"""Executors of processes: how to submit a task, and how many tasks run at once."""

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from typing import Any, Final

from event_collector.remote.batch_host import run_batch
from event_collector.values.errors import ExecutorLost

LATENCY: Final = 0.1
"""Maximum total time of the handlers in one task, in seconds. A task costs milliseconds, a few percent of this."""

_SIZES: Final = ("_max_workers", "num_workers")
"""Attributes with the number of slots: of executors in the standard library and loky, and of mpi4py's."""


class ExecutorAdapter:
    """Adapts any `concurrent.futures.Executor`. The executor belongs to the application, which closes it."""

    latency = LATENCY
    refresh_interval: float | None = None
    """Seconds between two calls of `refresh()` while tasks are in flight; None if the number of slots is fixed."""
    tag = ""
    """Suffix for the names of setups. Equal setups with equal names are opened once in a process."""
    shares_main = True
    """Whether its processes import the main module of this program."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    @property
    def identity(self) -> Any:
        """Key that is equal for adapters that can share one feed."""
        return self.executor

    @property
    def slots(self) -> int | None:
        """Number of tasks that run at once; None if it is unknown."""
        for name in _SIZES:
            size = getattr(self.executor, name, None)
            if isinstance(size, int) and size > 0:
                return size
        return None

    def submit(self, name: str, setup: bytes, bodies: list[bytes], timeout: float | None) -> "Future[bytes]":
        """Submit a batch. The outcome is an encoded BatchReply."""
        return self.executor.submit(run_batch, name, setup, bodies, timeout)

    def explain(self, error: BaseException, key: str) -> BaseException:
        """Return the error of the events in a task that failed with `error`."""
        return error

    def lost(self, key: str) -> BaseException:
        """Return the error of the events in a task that the executor has withdrawn."""
        return ExecutorLost(
            f"collector {key!r}: its executor {type(self.executor).__name__} withdrew the event. If its handler had "
            f"begun, it may have taken effect"
        )

    async def open(self, setups: Mapping[str, bytes]) -> None:
        """Prepare for tasks with these setups, by name. Raises ConfigError if the executor cannot be used."""

    async def close(self) -> None:
        """Close what the processes have opened, if the executor supports that."""

    async def refresh(self) -> None:
        """Update the number of slots."""
