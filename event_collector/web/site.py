"""What a page can show: the watched queues, the links to control them, and reports of benchmarks."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from event_collector.benchmark.report import Report
from event_collector.control.control_messages import Answer, ControlState, Request
from event_collector.web.replay import Replay
from event_collector.web.watched import Watched


class Link(Protocol):
    """A way to act on one queue."""

    async def ask(self, request: Request) -> Answer:
        """Return the answer to a request. Raises Unreachable if there is none."""
        ...

    async def state(self) -> ControlState | None:
        """Return what can be controlled; None if nothing can."""
        ...


class QueueReader(Protocol):
    """Looks at one queue while somebody asks for it."""

    def wake(self) -> None:
        """Look at the queue from now on, for a while."""
        ...


class Site:
    """All that one app shows.

    By the number of their queue: `links` to control it, `readers` that look while a page is open, and `replays` of
    recordings. `reports` of benchmarks have the names of their files.
    """

    def __init__(
        self,
        queues: Sequence[Watched],
        links: Mapping[int, Link] | None = None,
        *,
        readers: Mapping[int, QueueReader] | None = None,
        replays: Mapping[int, Replay] | None = None,
        reports: Mapping[str, Report] | None = None,
    ) -> None:
        self.queues, self.links = queues, dict(links or {})
        self.readers = dict(readers or {})
        self.replays, self.reports = dict(replays or {}), dict(reports or {})

    def __repr__(self) -> str:
        return f"<Site of {len(self.queues)} queues and {len(self.reports)} reports>"

    def queue(self, number: int) -> Watched | None:
        """Return a queue by its number, from 1."""
        return self.queues[number - 1] if 0 < number <= len(self.queues) else None
