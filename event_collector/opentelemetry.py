"""OpenTelemetry: a span around each attempt of a handler, and metrics of a queue; the extra `opentelemetry`.

Only the API is used: nothing is recorded unless the application sets up an SDK.
"""

import asyncio
import weakref
from collections.abc import Callable, Iterator
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
from event_collector.watching.figures import FIGURES, Figure
from event_collector.watching.observer import ThreadSafeObserver

try:
    from opentelemetry import metrics, propagate, trace
    from opentelemetry.metrics import CallbackOptions, Histogram, Observation
    from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
except ImportError as exc:
    raise missing("opentelemetry", "opentelemetry-api") from exc

if TYPE_CHECKING:
    from event_collector.queue import CollectorQueue
    from event_collector.watching.snapshot import Snapshot

__all__ = ["instrument"]

SYSTEM: Final = "event_collector"
FRESH: Final = 0.5
"""Seconds for which one snapshot serves all instruments, which a reader asks one after the other."""

_LABELS: Final = {"collector": "messaging.destination.name", "group": "event_collector.worker_group"}
"""The attribute that tells the subjects of a figure apart."""

_instrumented: "weakref.WeakSet[Collector]" = weakref.WeakSet()


def instrument(
    queue: "CollectorQueue",
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> None:
    """Trace the events of a queue and measure it. Call it before the queue starts.

    Each attempt of a handler is a span "process KEY", a child of the span in which the event was sent. Spans that the
    handler begins are children of that one, in worker processes too. Tracing costs, besides the work of the SDK, the
    slower path through the router, and a task for each event of a worker process.

    Args:
        queue: a queue that has not started.
        tracer_provider: replaces the global one.
        meter_provider: replaces the global one.

    Raises:
        ConfigError: the queue runs already, or one of its collectors is instrumented already.
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
    key = collector.key
    common = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": key,
    }

    async def traced(payload: Payload[Any]) -> Any:
        """Process a payload within a span."""
        began, failed = monotonic(), dict[str, str]()
        attributes = {**common, **_attributes_of(payload)}
        with tracer.start_as_current_span(f"process {key}", kind=SpanKind.CONSUMER, attributes=attributes) as span:
            if collector.place not in (COROUTINE, THREAD):
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


def _attributes_of(payload: Payload[Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {"event_collector.attempt": payload.attempt}
    event = running_event()
    if event is not None and event.event_id is not None:
        attributes["messaging.message.id"] = str(event.event_id)
    return attributes


class _Instruments:
    """Observable instruments that read a queue whenever the meter asks."""

    def __init__(self, queue: "CollectorQueue", meter: metrics.Meter) -> None:
        self._observer = ThreadSafeObserver(queue)
        self._common = {"event_collector.queue": queue.id}
        self._snapshot: Snapshot | None = None
        self._taken = -FRESH
        counter, gauge = meter.create_observable_counter, meter.create_observable_up_down_counter
        for figure in FIGURES:
            if figure.opentelemetry:
                create: Callable[..., object] = counter if figure.kind == "counter" else gauge
                name = f"event_collector.{figure.opentelemetry}"
                create(name, [partial(self._observe, figure)], figure.unit, figure.meaning)

    def _observe(self, figure: Figure, _: CallbackOptions) -> Iterator[Observation]:
        now = monotonic()
        if self._snapshot is None or now - self._taken > FRESH:
            self._snapshot, self._taken = self._observer.look(), now
        for key, part, value in figure.samples(self._snapshot):
            attributes = dict(self._common)
            if key is not None:
                attributes[_LABELS[figure.subject]] = key
            if part:
                attributes[f"event_collector.{figure.label}"] = part
            yield Observation(value, attributes)
