"""What happens in the pool of workers, passed on to the dispatcher and the log."""

from collections.abc import Iterable
from typing import Any, Protocol

from event_collector.tiers.workers.event_jobs import CollectorTask, ResultSink
from event_collector_workers.environment import DEFAULT_GROUP
from event_collector_workers.pool.listener import PoolListener
from event_collector_workers.pool_errors import PoolBroken


class StructuredRecords(Protocol):
    """Takes the structlog records of handlers in workers."""

    def level(self) -> int:
        """Return the lowest level that is not dropped."""

    def emit(self, group: str, worker: int, pid: int, body: bytes, /) -> None:
        """Emit an encoded record of the worker with this number in its group."""


class PoolEvents(PoolListener):
    """Passes the events of the pool on to the dispatcher and the log."""

    def __init__(
        self,
        events: ResultSink,
        tasks: Iterable[CollectorTask],
        log: Any,
        records: StructuredRecords | None,
        group: str,
    ) -> None:
        self._events, self._tasks, self._log = events, tuple(tasks), log
        self._records, self._group = records, group
        self._about = {} if group == DEFAULT_GROUP else {"group": group}  # in each line of the log
        self.workers = 0  # workers that are ready
        self.problem: str | None = None  # error of the breaker while it is open

    def room(self) -> None:
        """Give the workers what waits."""
        self._events.hand_out()

    def answers(self) -> None:
        """Settle what has ended."""
        for task in self._tasks:
            if task.ended:
                task.settle()

    def structured_level(self) -> int:
        """Return the lowest level of structlog records that is not dropped."""
        return 0 if self._records is None else self._records.level()

    def structured(self, worker: int, pid: int, body: bytes) -> None:
        """Emit a structlog record of a worker."""
        if self._records is not None:
            self._records.emit(self._group, worker, pid, body)

    def worker_started(self, pid: int, seconds: float) -> None:
        """Count a worker that is ready."""
        self.workers += 1
        self._log.debug("worker started", pid=pid, seconds=round(seconds, 4), **self._about)

    def worker_stopped(self, pid: int | None, reason: str, exitcode: int | None) -> None:
        """Log the end of a worker; one that was not meant is a warning."""
        self.workers -= reason != "not started"
        level = self._log.debug if reason == "stopped" else self._log.warning
        level("worker ended", pid=pid, reason=reason, exitcode=exitcode, **self._about)

    def imported_apart(self, module: str, reason: str) -> None:
        """Log which module workers do not share, and why."""
        self._log.info("each worker imports this module by itself", imported=module, reason=reason, **self._about)

    def worker_complained(self, pid: int | None, trace: str) -> None:
        """Log that a lifecycle could not be left in order."""
        self._log.error("lifecycle failed at the end of a worker", pid=pid, trace=trace, **self._about)

    def breaker_opened(self, error: PoolBroken) -> None:
        """Log that workers keep dying, and note why events fail at once."""
        self.problem = str(error)
        self._log.error("workers keep dying", reason=str(error), retry_in=error.retry_in, **self._about)

    def breaker_closed(self) -> None:
        """Log that workers live again."""
        self.problem = None
        self._log.info("workers live again", **self._about)
