"""The inspector of a queue: has attempts recorded while a viewer asks for details, and makes the details.

begin() --> taps: coroutine tier, worker tier, failures --> look() once a second --> end(): all as before
"""

from itertools import count
from time import thread_time
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from event_collector.inspection.attempt_recorder import AttemptRecorder, payload_text
from event_collector.inspection.ended_attempt import span_of
from event_collector.inspection.letter_sheet import LetterSheet
from event_collector.inspection.queue_parts import QueueParts
from event_collector.inspection.running_events import RunningEvents
from event_collector.inspection.setup_texts import settings_of
from event_collector.values.clock import clock
from event_collector.watching.details import Details, MachineUse, QueueState, SizeDecision

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Mapping

    from event_collector.events.failures import Failures
    from event_collector.handlers.progress_reports import RunningProgress
    from event_collector.tiers.coroutines.coroutine_tier import CoroutineTier
    from event_collector.tiers.workers.worker_tier import WorkerTier


class InspectedEngine(Protocol):
    """The part of a queue that starts and ends it."""

    failures: "Failures"

    @property
    def decisions(self) -> "deque[SizeDecision]":
        """The last changes of size."""

    def parts(self) -> QueueParts:
        """Return the parts."""

    def progress(self) -> "list[RunningProgress]":
        """Return what handlers have reported."""


class Inspector:
    """Inspects one queue, in the thread of its event loop.

    Args:
        engine: of the queue.
        about: what is known of it beside.
        shows_payloads: whether texts of payloads are shown.
    """

    def __init__(self, engine: InspectedEngine, about: QueueState, *, shows_payloads: bool) -> None:
        parts = engine.parts()
        self._engine, self._about, self._shows_payloads = engine, about, shows_payloads
        self._dispatcher, self._collectors = parts.dispatcher, parts.collectors
        self._letters = LetterSheet(parts.letters, payload_text if shows_payloads else None)
        self._recorder: AttemptRecorder | None = None
        self._running: RunningEvents
        self._handlers: CoroutineTier | None = None  # those that are tapped
        self._workers: Mapping[str, WorkerTier] = {}
        self._numbers = count(1)
        self._looked = self._loop_time = 0.0

    def __repr__(self) -> str:
        return f"<Inspector {'at rest' if self._recorder is None else self._recorder!r}>"

    def begin(self) -> None:
        """Have attempts recorded from now on. A no-op while they are."""
        if self._recorder is not None:
            return
        ending, failures = self._dispatcher.ending, self._engine.failures
        recorder = AttemptRecorder(self._collectors, ending.ended, failures, shows_payloads=self._shows_payloads)
        self._running = RunningEvents(self._collectors, self._engine.progress, recorder.payload_of)
        self._recorder = recorder
        self._looked, self._loop_time = clock.now(), thread_time()
        ending.watch_failures(recorder)
        ending.watch_values(recorder.note_value)
        self._tap()

    def end(self) -> None:
        """Record nothing any more. A no-op if nothing is recorded."""
        if self._recorder is None:
            return
        self._recorder.splits.follow(self._dispatcher, ())
        self._recorder = None
        self._dispatcher.ending.watch_failures(self._engine.failures)
        self._dispatcher.ending.watch_values(None)
        if self._handlers is not None:
            self._handlers.end_with(None)
        for group in self._workers.values():
            group.pool.watch(None)
        self._handlers, self._workers = None, {}

    def _tap(self) -> None:
        """Tap the tiers. They are others after each start of the queue."""
        recorder, handlers, workers = self._recorder, self._dispatcher.handlers, self._engine.parts().workers
        if recorder is None:
            return
        if handlers is not self._handlers and handlers is not None:
            handlers.end_with(recorder.ended)
        if workers is not self._workers and workers:
            for group in workers.values():
                group.pool.watch(recorder)
            recorder.splits.follow(self._dispatcher, tuple(workers.values()))
        self._handlers, self._workers = handlers, workers

    def look(self, *, with_settings: bool, cost: float) -> Details:
        """Return the details since the last call; `cost`: the seconds that the line before has taken of the loop."""
        self.begin()
        now, wall, loop_time = clock.now(), clock.wall(), thread_time()
        elapsed, busy = now - self._looked, loop_time - self._loop_time
        self._looked, self._loop_time = now, loop_time
        self._tap()
        shares = (busy / elapsed, cost / elapsed) if elapsed > 0 else (None, None)
        details = Details(
            number=next(self._numbers),
            time=wall,
            elapsed=elapsed,
            decisions=list(self._engine.decisions),
            dead_letters=self._letters.look(),
            machine=self._machine(),
            queue=self._state(*shares),
            settings=[settings_of(one) for one in self._collectors.values()] if with_settings else None,
            shows_payloads=self._shows_payloads,
        )
        return replace(details, **self._attempts(now, wall - now, elapsed))

    def _attempts(self, now: float, offset: float, elapsed: float) -> dict[str, Any]:
        recorder = self._recorder
        if recorder is None:
            return {}
        stride = recorder.stride
        spans, lost, rows = recorder.take(now, elapsed)
        running = self._running.look(self._handlers, self._workers.values())
        return {
            "stride": stride,
            "spans": [span_of(one, offset) for one in spans],
            "spans_lost": lost,
            "rows": rows,
            "running": running,
            "running_more": max(0, self._dispatcher.permits.busy - len(running)),
            "slowest": [one.timeline(offset) for one in recorder.slowest],
            "failed": [one.timeline(offset) for one in reversed(recorder.failed)],
            "errors": recorder.errors.look(offset),
            "errors_ungrouped": recorder.errors.ungrouped,
            "times": recorder.splits.look(),
        }

    def _state(self, loop_busy: float | None, share: float | None) -> QueueState:
        loop = self._engine.parts().control_loop
        return replace(
            self._about,
            senders_waiting=self._dispatcher.gate.senders,
            lag=0.0 if loop is None else loop.lag,
            blocked_by=[] if loop is None else loop.blockers,
            loop_busy=loop_busy,
            watch_share=share,
        )

    def _machine(self) -> MachineUse:
        loop = self._engine.parts().control_loop
        if loop is None:
            return MachineUse()
        reading = loop.machine
        return MachineUse(
            cpus=reading.cpus,
            cpus_of_others=reading.others,
            memory=reading.memory_limit,
            memory_used=reading.memory_used,
            memory_of_workers=reading.memory_workers,
        )
