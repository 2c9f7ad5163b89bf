"""Prometheus gets the figures of a queue, in any thread, under names that follow its conventions."""

import asyncio
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector.prometheus import QueueCollector
from event_collector.sources import Feed
from tests.event_collector.modes import BOUND
from tests.event_collector.sample_handlers import echo
from tests.sources.sample_source import SampleSource


async def divide(payload: Payload[int], ctx: Context) -> float:
    return 1 / payload.value


def read(registry: CollectorRegistry) -> dict[str, Any]:
    """Return the metric families of a scrape, by name."""
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Any], name: str, **labels: str) -> float:
    """Return the one sample with these labels."""
    samples = [sample for family in families.values() for sample in family.samples if sample.name == name]
    (found,) = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
    return float(found)


async def test_the_figures_of_a_queue_can_be_scraped() -> None:
    """Counts, sizes and times are those of the queue, with collector and outcome as labels."""
    registry = CollectorRegistry()
    queue = CollectorQueue([Collector("a", divide), Collector("b", divide)], logging=False)
    registry.register(QueueCollector({"orders": queue}))
    assert value(read(registry), "event_collector_healthy", queue="orders") == 0
    async with asyncio.timeout(BOUND), queue:
        await queue.get_publisher().send_many(map(Payload, (1, 2, 0)))
        await queue.get_publisher().wait()
        families = await asyncio.to_thread(read, registry)
        handled = families["event_collector_handled"]
    assert value(families, "event_collector_healthy", queue="orders") == 1
    assert value(families, "event_collector_events_accepted_total") == 3
    assert value(families, "event_collector_events_finished_total") == 3
    assert value(families, "event_collector_events", state="queued") == 0
    for key in ("a", "b"):
        assert value(families, "event_collector_handled_total", collector=key, outcome="ok") == 2
        assert value(families, "event_collector_handled_total", collector=key, outcome="error") == 1
        assert value(families, "event_collector_service_time_seconds_count", collector=key) == 3
        assert value(families, "event_collector_service_time_seconds_sum", collector=key) > 0
        name = "event_collector_service_time_seconds_bucket"
        buckets = [value(families, name, collector=key, le=bound) for bound in ("0.0005", "60.0", "+Inf")]
        assert buckets == sorted(buckets)
        assert buckets[1:] == [3, 3]
        assert value(families, "event_collector_wait_time_seconds_count", collector=key) == 3
    assert handled.type == "counter"
    assert families["event_collector_service_time_seconds"].type == "histogram"
    assert all(name.startswith("event_collector_") for name in families)


def test_several_queues_are_one_collector() -> None:
    """Each metric exists once, with a label for each queue; a second collector cannot be registered."""
    first, second = (CollectorQueue([Collector("a", divide)], logging=False) for _ in range(2))
    registry = CollectorRegistry()
    registry.register(QueueCollector({"first": first, "second": second}))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(QueueCollector(first))
    text = generate_latest(registry).decode()
    assert text.count("# TYPE event_collector_healthy gauge") == 1
    for name in ("first", "second"):
        assert value(read(registry), "event_collector_handled_total", queue=name, outcome="ok") == 0


async def test_a_scrape_of_a_blocked_event_loop_fails_in_time() -> None:
    """A scrape in another thread waits for the event loop for `timeout` seconds at most."""
    queue = CollectorQueue([Collector("a", divide)], logging=False)
    outcome: list[BaseException] = []
    registry = CollectorRegistry()
    registry.register(QueueCollector(queue, timeout=0.05))

    def scrape() -> None:
        try:
            generate_latest(registry)
        except TimeoutError as exc:
            outcome.append(exc)

    async with queue:
        thread = threading.Thread(target=scrape)
        thread.start()
        thread.join(BOUND)  # while this blocks the loop
    assert "did not answer within 0.05 s" in str(outcome[0])


@pytest.mark.parametrize(
    ("module", "needed"), [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")]
)
def test_a_missing_extra_names_the_command_that_installs_it(module: str, needed: str) -> None:
    """The error of the import has the command that installs the extra."""
    code = f"import sys; sys.modules[{needed!r}] = None; import event_collector.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert f"pip install 'event-collector-hybrid[{module}]'" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")


async def test_every_metric_of_the_dashboard_exists(tmp_path: Path) -> None:
    """docs/grafana.json asks for metrics that a QueueCollector has, with their labels, and leaves none out."""
    board = json.loads((Path(__file__).parents[2] / "docs/grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"event_collector_\w+", query)}
    collectors = [Collector("a", divide), Collector("b", echo, mode="process")]
    queue = CollectorQueue(collectors, logging=False, max_workers=1, journal=tmp_path / "j")
    queue.feeds.enter("orders", Feed(queue, SampleSource()))
    registry = CollectorRegistry()
    registry.register(QueueCollector(queue))
    async with asyncio.timeout(BOUND), queue:
        families = await asyncio.to_thread(read, registry)
    samples = {sample.name: set(sample.labels) for family in families.values() for sample in family.samples}
    assert asked <= set(samples)
    for query in queries:
        labels = {name for group in re.findall(r" by \((.*?)\)", query) for name in group.split(", ")}
        (metric,) = re.findall(r"event_collector_\w+", query)
        assert labels <= samples[metric], query
    assert {name for name in families if not any(one.startswith(name) for one in asked)} == set()
