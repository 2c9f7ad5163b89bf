"""OpenTelemetry: a span around each attempt of a handler, and metrics of a queue; the extra `opentelemetry`.

Only the API is used: without an SDK that the application sets up, everything here does nothing.
"""

import asyncio
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from event_collector.handlers.collector import COROUTINE, THREAD, Collector, Process
from event_collector.handlers.running_event import running_event
from event_collector.remote.trace_context import CARRIER
from event_collector.values.errors import ConfigError
from event_collector.values.extras import missing
from event_collector.values.payload import Payload
from event_collector.values.results import Error
from event_collector.watching.remote_look import RemoteLook
from event_collector.watching.snapshot import Snapshot

try:
    from opentelemetry import metrics, propagate, trace
    from opentelemetry.metrics import CallbackOptions, Histogram, Observation
    from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
except ImportError as exc:
    raise missing("opentelemetry", "opentelemetry-api") from exc

if TYPE_CHECKING:
    from event_collector.queue import CollectorQueue

__all__ = ["instrument"]

SYSTEM: Final = "event_collector"
FRESH: Final = 0.5
"""Seconds for which one snapshot serves all instruments, which are asked one after the other."""

_instrumented: "weakref.WeakSet[Collector]" = weakref.WeakSet()


def instrument(
    queue: "CollectorQueue",
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> None:
    """Trace the events of a queue, and measure it, before it starts.

    Each attempt of a handler is a span "process KEY", a child of the span in which the event was sent; where a handler
    runs in a worker process, spans that it begins there are children of that one. Each event then takes the longer way
    through the router, and one for a worker process a task: that is what tracing costs, beside what the SDK takes.

    Args:
        queue: that has not started yet.
        tracer_provider: instead of the global one.
        meter_provider: instead of the global one.

    Raises:
        ConfigError: the queue runs already, or one of its collectors is instrumented.

    """
    if queue.is_running:
        raise ConfigError(f"{queue.id} runs already: instrument() it before it starts")
    for collector in queue.collectors.values():
        if collector in _instrumented:
            raise ConfigError(f"collector {collector.key!r} is instrumented already")
    tracer = trace.get_tracer(__name__, tracer_provider=tracer_provider)
    meter = metrics.get_meter(__name__, meter_provider=meter_provider)
    durations = meter.create_histogram(
        "messaging.process.duration", unit="s", description="Time of an event in its handler."
    )
    for collector in queue.collectors.values():
        _instrumented.add(collector)
        collector.wrap_process(partial(_traced, collector, tracer, durations))
    _Instruments(queue, meter)


def _traced(collector: Collector, tracer: Tracer, durations: Histogram, process: Process) -> Process:
    """Return a wrapper of the collector's process() that runs it within a span."""
    key, is_here = collector.key, _is_here
    common = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": key,
    }

    async def traced(payload: Payload[Any]) -> Any:
        event, began = running_event(), monotonic()
        attributes: dict[str, Any] = {**common, "event_collector.attempt": payload.attempt}
        if event is not None and event.event_id is not None:
            attributes["messaging.message.id"] = str(event.event_id)
        failed: dict[str, str] = {}
        with tracer.start_as_current_span(
            f"process {key}", kind=SpanKind.CONSUMER, attributes=attributes
        ) as span:
            if not is_here(collector):
                carrier: dict[str, str] = {}
                propagate.inject(carrier)
                CARRIER.set(carrier)
            try:
                outcome = await process(payload)
                if isinstance(outcome, Error):
                    failed = {"error.type": type(outcome.err).__qualname__}
                    span.set_status(Status(StatusCode.ERROR, str(outcome.err)))
            except (Exception, asyncio.CancelledError) as exc:
                failed = {"error.type": type(exc).__qualname__}
                raise
            finally:
                span.set_attributes(failed)
                durations.record(monotonic() - began, {**common, **failed})
            return outcome

    return traced


def _is_here(collector: Collector) -> bool:
    return collector.place in (COROUTINE, THREAD)


class _Instruments:
    """What is observed of a queue whenever the meter asks."""

    def __init__(self, queue: "CollectorQueue", meter: metrics.Meter) -> None:
        self._look = RemoteLook(queue)
        self._common = {"event_collector.queue": queue.id}
        self._last: Snapshot | None = None
        self._looked = -FRESH
        for name, unit, text, value in (
            ("events.accepted", "{event}", "Events that were accepted.", lambda s: s.events.accepted),
            (
                "events.dropped",
                "{event}",
                "Events that a full queue has dropped.",
                lambda s: s.events.dropped,
            ),
            (
                "worker.restarts",
                "{worker}",
                "Workers that ended without being told to.",
                lambda s: s.worker_restarts,
            ),
        ):
            meter.create_observable_counter(f"event_collector.{name}", [self._observed(value)], unit, text)
        for name, unit, text, value in (
            ("consumers", "{event}", "Events that may be in handlers at once.", lambda s: s.consumers),
            ("workers", "{worker}", "Worker processes that are ready.", lambda s: s.workers_ready),
        ):
            meter.create_observable_up_down_counter(
                f"event_collector.{name}", [self._observed(value)], unit, text
            )
        meter.create_observable_up_down_counter(
            "event_collector.events", [self._places], "{event}", "Events by where they are."
        )
        meter.create_observable_counter(
            "event_collector.handled",
            [self._handled],
            "{event}",
            "Events that handlers have ended with, by outcome.",
        )

    def _snapshot(self) -> Snapshot:
        now = monotonic()
        if self._last is None or now - self._looked > FRESH:
            self._last, self._looked = self._look(), now
        return self._last

    def _observed(
        self, value: Callable[[Snapshot], float]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(value(self._snapshot()), self._common)]

    def _places(self, _: CallbackOptions) -> Iterator[Observation]:
        events = self._snapshot().events
        for state in ("in_handlers", "queued", "scheduled", "dead"):
            yield Observation(getattr(events, state), {**self._common, "event_collector.state": state})

    def _handled(self, _: CallbackOptions) -> Iterator[Observation]:
        for one in self._snapshot().collectors:
            attributes = {**self._common, "messaging.destination.name": one.key}
            outcomes = {"ok": max(0, one.events - one.errors), "error": one.errors}
            for outcome, count in outcomes.items():
                yield Observation(count, {**attributes, "event_collector.outcome": outcome})
