"""Failures that nobody has looked at: each is logged once, when its event is garbage or the queue ends.

    a handler fails --> note() --> somebody looks: forgotten
                              |--> the event is garbage --> logged, in the next turn of the loop
                              '--> the queue ends --------> logged

At most `MOST` lines are written in `WINDOW` seconds. The others are counted.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from event_collector.events.event import CollectorEvent
from event_collector.events.failed_event import watch_failure
from event_collector.handlers.collector_checks import LOG
from event_collector.values.clock import clock
from event_collector.values.errors import EventCancelled, EventDropped
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error, Result
from event_collector_workers.error_texts import error_text

MOST: Final = 10
"""Failures of one queue that are logged within `WINDOW`."""

WINDOW: Final = 60.0
"""Seconds."""

_ASKED_FOR: Final = (EventCancelled, EventDropped, QueueShutDown)
"""Errors that are no failures of a handler: somebody cancelled the event, or the queue told of it otherwise."""


class FailureOwner(Protocol):
    """A collector, as far as its failures are concerned."""

    on_error: str


class FailureWatch(Protocol):
    """Watches events that fail."""

    def note(
        self, event: CollectorEvent, results: Iterable[Result[Any]], owners: Mapping[str, FailureOwner], /
    ) -> None:
        """Watch an event that ends with these results."""


class Failure(NamedTuple):
    """What is logged of one event in one collector."""

    event_id: int
    collector: str | None
    error: str
    trace: str


class Failures:
    """The failures of one queue that nobody has looked at. Only `note()` of a failed event comes here."""

    def __init__(self, log: Any, now: Callable[[], float] = clock.read) -> None:
        self._log, self._now = log, now
        self._unheard: dict[int, list[Failure]] = {}
        self._lost: deque[int] = deque()  # ids of events that are garbage; any thread appends
        self._is_due = False  # whether `_report_lost()` will run; a race costs one call
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = -WINDOW  # of the window
        self._written = 0  # lines in the window
        self._left_out: Counter[str | None] = Counter()  # by collector
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Failures {len(self._unheard)} unheard, {self._left_out.total()} left out>"

    def note(self, event: CollectorEvent, results: Iterable[Result[Any]], owners: Mapping[str, FailureOwner]) -> None:
        """Watch an event that ends with these results, unless its collectors have `on_error="ignore"`."""
        failures = [_failure(event.id, each) for each in results if isinstance(each, Error) and _is_heard(each, owners)]
        if failures and event.id not in self._unheard:
            self._unheard[event.id] = failures
            self._loop = asyncio.get_running_loop()
            watch_failure(event, on_look=self._forget, on_garbage=self._note_lost)

    def finish(self) -> None:
        """Log what nobody has looked at by the end of the queue, and the number of what was left out."""
        if self._timer is not None:
            self._timer.cancel()
        self._lost.clear()
        self._is_due = False
        for event_id in list(self._unheard):
            self._report(event_id)
        self._report_left_out()

    def _forget(self, event_id: int) -> None:
        self._unheard.pop(event_id, None)

    def _note_lost(self, event_id: int) -> None:
        # The collector of garbage calls this, perhaps within a log call that holds a lock: nothing may be logged here.
        if event_id not in self._unheard or self._loop is None:
            return
        self._lost.append(event_id)
        if not self._is_due:
            self._is_due = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._report_lost)

    def _report_lost(self) -> None:
        self._is_due = False
        lost = sorted(self._lost.popleft() for _ in range(len(self._lost)))
        for event_id in lost:
            self._report(event_id)

    def _report(self, event_id: int) -> None:
        for failure in self._unheard.pop(event_id, ()):
            if self._admits():
                fields = {"exception": failure.trace} if failure.trace else {}
                self._log.error(
                    "an event failed, and nobody looked at its result",
                    event_id=failure.event_id,
                    collector=failure.collector,
                    error=failure.error,
                    **fields,
                )
            else:
                self._left_out[failure.collector] += 1

    def _admits(self) -> bool:
        """Return whether another line may be written now. Otherwise a timer will tell how many were not."""
        now = self._now()
        if now - self._began >= WINDOW:
            self._report_left_out()
            self._began, self._written = now, 0
        if self._written < MOST:
            self._written += 1
            return True
        if self._timer is None and self._loop is not None and not self._loop.is_closed():
            self._timer = self._loop.call_later(WINDOW, self._report_left_out)
        return False

    def _report_left_out(self) -> None:
        self._timer = None
        count = self._left_out.total()
        if count:
            by_collector = dict(self._left_out)
            self._left_out.clear()
            text = f"and {count:,} more events failed in the last minute, and nobody looked at their results"
            self._log.error(text, count=count, collectors=by_collector)


def _is_heard(result: Error[Any], owners: Mapping[str, FailureOwner]) -> bool:
    owner = owners.get(result.key or "")
    return (owner is None or owner.on_error == LOG) and not issubclass(type(result.err), _ASKED_FOR)


def _failure(event_id: int, result: Error[Any]) -> Failure:
    details = result.details
    trace = details.get("trace", "") if isinstance(details, dict) else ""
    return Failure(event_id, result.key, error_text(result.err), str(trace).rstrip("\n"))
