"""The events that are in handlers at this instant."""

import os
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from event_collector.handlers.collector import PROCESS, Collector
from event_collector.tiers.workers.event_jobs import CallJob, EventJob
from event_collector.values.clock import clock
from event_collector.watching.details import EventInHandler

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.progress_reports import RunningProgress
    from event_collector.tiers.coroutines.coroutine_tier import CoroutineTier
    from event_collector.tiers.workers.worker_tier import WorkerTier

MOST: Final = 100
"""Events in a list: the oldest ones."""
MOST_PAYLOADS: Final = 20
"""Events in a list whose payloads are shown."""


class RunningEvents:
    """Lists the events in handlers of one queue.

    Args:
        collectors: of the queue, by key.
        progress: returns what handlers have reported.
        payload_of: returns the text of an event's payload, if that may be shown.
    """

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        progress: "Callable[[], Iterable[RunningProgress]]",
        payload_of: "Callable[[CollectorEvent], str | None]",
    ) -> None:
        self._collectors, self._progress, self._payload_of = collectors, progress, payload_of

    def look(self, handlers: "CoroutineTier | None", workers: "WorkerTier | None") -> list[EventInHandler]:
        """Return the oldest events, the oldest one first."""
        reports = {report.event_id: report for report in self._progress()}
        found = [] if workers is None else [*self._in_workers(workers, reports)]
        if handlers is not None:
            found += self._here(handlers, reports)
        found.sort(key=attrgetter("age"), reverse=True)
        return found[:MOST]

    def _here(self, handlers: "CoroutineTier", reports: "dict[int, RunningProgress]") -> Iterable[EventInHandler]:
        now, pid = clock.now(), os.getpid()
        for place, event in enumerate(handlers.oldest(MOST)):
            running = handlers.running_event(event)
            collector = self._collectors.get(running.collector or "")
            if collector is not None and collector.place == PROCESS:
                continue  # the pool knows whether a worker has it
            yield EventInHandler(
                event=event.id,
                collector=running.collector,
                place="here" if collector is None else collector.place,
                pid=pid,
                age=max(0.0, now - event.started),
                waited=max(0.0, event.started - event.created),
                attempt=running.attempt or 1,
                limit=None if collector is None else collector.timeout,
                payload=self._payload_of(event) if place < MOST_PAYLOADS else None,
                **_reported(reports.get(event.id)),
            )

    def _in_workers(self, workers: "WorkerTier", reports: "dict[int, RunningProgress]") -> Iterable[EventInHandler]:
        now = clock.now()
        for number, (one, worker, pid, age) in enumerate(workers.pool.running()):
            job: Any = one
            event = job.event if isinstance(job, EventJob) else None
            event_id = event.id if event is not None else job.event_id if isinstance(job, CallJob) else 0
            yield EventInHandler(
                event=event_id,
                collector=job.of.key,
                place=PROCESS,
                worker=worker,
                pid=pid,
                age=age,
                waited=None if event is None else max(0.0, now - age - event.created),
                attempt=1 if event is None else event.payload.attempt,
                limit=job.of.collector.timeout,
                payload=self._payload_of(event) if event is not None and number < MOST_PAYLOADS else None,
                **_reported(reports.get(event_id) if event_id else None),
            )


def _reported(report: "RunningProgress | None") -> dict[str, Any]:
    return {} if report is None else {"done": report.done, "total": report.total, "note": report.note}
