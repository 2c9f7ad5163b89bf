"""Figures of a dispatcher: read from the parts that own them, at this instant."""

from typing import TYPE_CHECKING

from event_collector.watching.metrics import Accounting, Counts

if TYPE_CHECKING:
    from event_collector.dispatch.chunks import Chunks
    from event_collector.dispatch.permits import Permits
    from event_collector.dispatch.retries import Retries
    from event_collector.dispatch.totals import Totals
    from event_collector.events.backlog import Backlogs


class Figures:
    """What the monitor, metrics and snapshots read of a dispatcher."""

    __slots__ = ("_backlogs", "_chunks", "_permits", "_retries", "_totals")

    def __init__(
        self, totals: "Totals", permits: "Permits", backlogs: "Backlogs", retries: "Retries", chunks: "Chunks"
    ) -> None:
        self._totals, self._permits, self._chunks = totals, permits, chunks
        self._backlogs, self._retries = backlogs, retries

    @property
    def qsize(self) -> int:
        """Events that wait for a handler."""
        return len(self._backlogs) + self._chunks.waiting

    @property
    def ready(self) -> int:
        """Events that wait for a handler and may begin: none during a pause, nor those of paused collectors."""
        return 0 if self._permits.kept is not None else self.qsize - len(self._backlogs.held)

    @property
    def ready_remote(self) -> int:
        """Events that wait for a worker process and may begin."""
        waiting = sum(map(len, self._backlogs.of_groups.values())) + self._chunks.waiting
        return 0 if self._permits.kept is not None else waiting

    def group_ready(self, group: str) -> int:
        """Return how many events wait for a worker process of one of several groups, and may begin."""
        waiting = len(self._backlogs.of_groups[group]) + self._chunks.waiting_for(group)
        return 0 if self._permits.kept is not None else waiting

    @property
    def busy(self) -> int:
        """Events in handlers."""
        return self._permits.busy

    @property
    def size(self) -> int:
        """Events that may be in handlers, or will after a pause."""
        return self._permits.full_size

    @property
    def active(self) -> int:
        """Events that are in handlers, or may begin."""
        return self.ready + self._permits.busy

    @property
    def attempts(self) -> int:
        """Attempts that have ended, of events that are finished or wait for another one."""
        return self._totals.finished + self._retries.returned

    @property
    def unfinished(self) -> int:
        """Accepted events that have no results yet."""
        return self._totals.unfinished

    @property
    def dropped(self) -> int:
        """Events that made room in a full queue."""
        return self._totals.dropped

    @property
    def service_total(self) -> float:
        """Seconds that all attempts spent in handlers."""
        return self._totals.service_total

    def counts(self) -> Counts:
        """Return what the meter samples."""
        totals, permits = self._totals, self._permits
        return Counts(totals.accepted, totals.finished, self.qsize, permits.busy, permits.full_size)

    def accounting(self) -> Accounting:
        """Return where all events are: the sizes of the places."""
        totals, letters = self._totals, self._retries.letters
        return Accounting(
            totals.accepted + letters.restored,
            totals.finished + letters.restored - letters.events,
            self._permits.busy,
            self.qsize,
            len(self._retries),
            letters.events,
        )
