"""OpenTelemetry gets metrics, and a span for each attempt of a handler, linked to the span of the sender."""

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from event_collector import Collector, CollectorQueue, ConfigError, Context, Payload, Retry
from event_collector.opentelemetry import instrument
from tests.event_collector.modes import BOUND


@pytest.fixture
def anyio_backend() -> str:
    """Run on one event loop only: traces do not depend on it."""
    return "asyncio"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """The exporter that keeps finished spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracers(spans: InMemorySpanExporter) -> TracerProvider:
    """A tracer provider, as an application sets it up."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


def traced(payload: Payload[Any], ctx: Context) -> tuple[str, str]:
    """Return the span in which the handler runs."""
    if payload.value == "fail" and payload.attempt == 1:
        raise ValueError("the first attempt")
    here = trace.get_current_span().get_span_context()
    return f"{here.trace_id:032x}", f"{here.span_id:016x}"


async def traced_here(payload: Payload[Any], ctx: Context) -> tuple[str, str]:
    return traced(payload, ctx)


def ids(span: Any) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


@pytest.mark.parametrize(
    ("mode", "handler"),
    [("coroutine", traced_here), ("thread", traced), ("process", traced), ("process", traced_here)],
    ids=["coroutine", "thread", "process", "process, async def"],
)
async def test_each_attempt_is_a_span_of_the_senders_trace(
    mode: str, handler: Any, spans: InMemorySpanExporter, tracers: TracerProvider
) -> None:
    """The span of an attempt is a child of the sender's, is current in the handler, and has event and outcome."""
    queue = CollectorQueue(
        [Collector("orders", handler, mode=mode, retry=Retry(max_attempts=2, backoff=0.0))],
        max_workers=1,
        logging=False,
    )
    instrument(queue, tracer_provider=tracers)
    async with asyncio.timeout(BOUND), queue:
        with tracers.get_tracer("test").start_as_current_span("request") as request:
            event = await queue.get_publisher().send(Payload("fail"))
        within = (await event.wait()).first().unwrap()
    _, first, second = sorted(spans.get_finished_spans(), key=lambda span: span.start_time)
    for number, span in enumerate((first, second), 1):
        assert (span.name, span.kind) == ("process orders", SpanKind.CONSUMER)
        assert span.parent.span_id == request.get_span_context().span_id
        assert span.attributes["messaging.message.id"] == str(event.id)
        assert span.attributes["messaging.destination.name"] == "orders"
        assert span.attributes["event_collector.attempt"] == number
    assert (first.status.status_code, first.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert second.status.status_code is StatusCode.UNSET
    assert tuple(within) == ids(second)


async def test_a_meter_observes_the_queue() -> None:
    """A reader finds counts by outcome, sizes, and a histogram of the times."""
    reader = InMemoryMetricReader()
    queue = CollectorQueue([Collector("orders", traced_here, retry=Retry(max_attempts=1))], logging=False)
    instrument(queue, meter_provider=MeterProvider([reader]))
    async with asyncio.timeout(BOUND), queue:
        await queue.get_publisher().send_many(map(Payload, ("fine", "fail")))
        await queue.get_publisher().wait()
        data: Any = await asyncio.to_thread(reader.get_metrics_data)
    metrics = {
        metric.name: list(metric.data.data_points) for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    handled = {
        (point.attributes["messaging.destination.name"], point.attributes["event_collector.outcome"]): point.value
        for point in metrics["event_collector.handled"]
    }
    assert handled == {("orders", "ok"): 1, ("orders", "error"): 1}
    assert [point.value for point in metrics["event_collector.events.accepted"]] == [2]
    assert sum(point.count for point in metrics["messaging.process.duration"]) == 2
    assert {point.attributes["event_collector.state"] for point in metrics["event_collector.events"]} == {
        "in_handlers", "queued", "scheduled", "dead",
    }  # fmt: skip


async def test_a_queue_is_instrumented_once_and_before_it_starts(tracers: TracerProvider) -> None:
    """A second instrument(), or one of a running queue, is refused."""
    queue = CollectorQueue([Collector("orders", traced_here)], logging=False)
    instrument(queue, tracer_provider=tracers)
    with pytest.raises(ConfigError, match="'orders' is instrumented already"):
        instrument(queue, tracer_provider=tracers)
    async with asyncio.timeout(BOUND), CollectorQueue([Collector("late", traced_here)], logging=False) as late:
        with pytest.raises(ConfigError, match="runs already"):
            instrument(late, tracer_provider=tracers)
