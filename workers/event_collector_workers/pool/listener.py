"""The events of a pool, for its owner."""

from event_collector_workers.pool_errors import PoolBroken


class PoolListener:
    """Receives the events of a pool, in the loop's thread. Override the methods of interest."""

    def room(self) -> None:
        """The pool accepts jobs again: its room was 0. Called at most once in a turn of the loop."""

    def answers(self) -> None:
        """All results of a batch have been handed to their jobs."""

    def worker_started(self, pid: int, seconds: float) -> None:
        """A worker is ready, `seconds` after its start."""

    def worker_stopped(self, pid: int | None, reason: str, exitcode: int | None) -> None:
        """A worker has ended. `reason` is "stopped" (as requested), "crashed" or "not started"."""

    def worker_complained(self, pid: int | None, trace: str) -> None:
        """A worker that was asked to stop failed to close its tasks. `trace` is its traceback."""

    def breaker_opened(self, error: PoolBroken) -> None:
        """Too many workers in a row have died. Jobs fail at once until the breaker closes."""

    def breaker_closed(self) -> None:
        """A job has finished: the pool works again."""
