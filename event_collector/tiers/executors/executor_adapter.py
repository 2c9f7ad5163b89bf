"""What is to be known of an executor that is not made of our threads: how to submit to it, how much it takes."""

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from typing import Any, Final

from event_collector.remote.batch_host import run_batch
from event_collector.values.errors import ExecutorLost

LATENCY: Final = 0.1
"""Seconds that the handlers of one task may take together: with tasks that cost milliseconds, a few percent."""

_SIZES: Final = ("_max_workers", "num_workers")
"""Where executors keep how many jobs they run at once: those of the standard library and loky, and mpi4py's."""


class ExecutorAdapter:
    """Any `concurrent.futures.Executor`.

    Args:
        executor: belongs to the application, which closes it.

    """

    latency = LATENCY
    refresh_interval: float | None = None
    """Seconds between two calls of `refresh()` while there is work; None where nothing changes by itself."""
    tag = ""
    """What the names of its setups end with. Equal setups under one name are opened once in a process."""

    shares_main = True
    """Whether its processes import the main module of this program."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    @property
    def identity(self) -> Any:
        """What is equal for two executors that are one."""
        return self.executor

    @property
    def slots(self) -> int | None:
        """How many tasks it runs at once; None if it does not tell."""
        for name in _SIZES:
            size = getattr(self.executor, name, None)
            if isinstance(size, int) and size > 0:
                return size
        return None

    def submit(self, name: str, setup: bytes, bodies: list[bytes], timeout: float | None) -> "Future[bytes]":
        """Submit a batch; its outcome is an encoded BatchReply."""
        return self.executor.submit(run_batch, name, setup, bodies, timeout)

    def explain(self, error: BaseException, key: str) -> BaseException:
        """Return what an event of a task ends with that the executor could not see through."""
        return error

    def lost(self, key: str) -> BaseException:
        """Return what an event of a task ends with that the executor has withdrawn by itself."""
        return ExecutorLost(
            f"collector {key!r}: its executor {type(self.executor).__name__} withdrew the event. If its handler had "
            f"begun, it may have taken effect"
        )

    async def open(self, setups: Mapping[str, bytes]) -> None:
        """Make ready for tasks with these setups, by name.

        Raises:
            ConfigError: this executor cannot be used.

        """

    async def close(self) -> None:
        """Have the processes close what they have opened, where that can be asked for."""

    async def refresh(self) -> None:
        """Look how many slots there are."""
