"""What a worker and its crew report to the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from event_collector_workers.job import Buffer
    from event_collector_workers.transport.frames import Part, Record


W = TypeVar("W", contravariant=True)


class WorkerEvents(Protocol[W]):
    """The events of workers and of their crew, in the loop's thread."""

    def on_ready(self, worker: W) -> None:
        """The worker accepts jobs."""

    def on_records(self, worker: W, records: list[Record], blob: Buffer | None) -> None:
        """Jobs have ended. A blob belongs to the only record."""

    def on_part(self, worker: W, part: Part, blob: Buffer | None) -> None:
        """A job has given a part, and goes on."""

    def on_look(self, worker: W) -> None:
        """The page holds records."""

    def on_output(self, worker: W, pid: int, kind: int, body: bytes) -> None:
        """A process of the worker has logged something."""

    def on_lost(self, worker: W) -> None:
        """The worker accepts no more jobs. Its process may still exist."""

    def on_gone(self, worker: W) -> None:
        """The process has ended. `exitcode` and `complaint` say how."""

    def on_breaker(self, *, opened: bool) -> None:
        """The crew's breaker opened or closed."""
