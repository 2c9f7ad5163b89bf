"""The table of figures: complete, readable from every snapshot, and the same in exporters and documentation."""

import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from event_collector.watching.feeds import FeedCounts, FeedSnapshot
from event_collector.watching.figures import FIGURES, Figure, Subject
from event_collector.watching.metrics import Accounting, Percentiles
from event_collector.watching.snapshot import (
    CollectorSnapshot,
    EventCounts,
    JournalSnapshot,
    Quantiles,
    RecoveredCounts,
    Snapshot,
    WorkerGroupSnapshot,
    WorkerSnapshot,
)
from event_collector.watching.tables import text_of
from tests.docs.pages import table

PAGE = Path(__file__).parents[3] / "docs/watching.md"
TIMES = Quantiles(0.01, 0.02, 0.03)
COLLECTOR = CollectorSnapshot("a", "process", 12, 2, 1.5, 3, None, 0.7, TIMES, Quantiles(0.1, 0.2, 0.3))
SNAPSHOT = Snapshot(
    time=0.0,
    elapsed=1.0,
    pid=1,
    queue="q",
    state="running",
    problem=None,
    events=EventCounts(20, 10, 3, 4, 1, 2, 5),
    arrival_rate=2.0,
    departure_rate=1.0,
    load=0.5,
    consumers=6,
    target_consumers=7,
    workers_ready=8,
    target_workers=9,
    worker_restarts=1,
    workers_cpu_seconds=0.25,
    cpu=0.125,
    collectors=[COLLECTOR],
    workers=[WorkerSnapshot(2, "ready", 0.5, 3.0, 4096, None, 1, 11)],
    decisions=[],
    groups=[
        WorkerGroupSnapshot(
            name="gpu", ready=1, target=2, busy=1, restarts=0, cpu_seconds=0.5, memory=4096, problem=None
        )
    ],
    feeds=[
        FeedSnapshot(
            name="orders",
            state="running",
            counts=FeedCounts(9, 2, 3, 1, 1, 0, 1, 1),
            held_bytes=64,
            remembered=4,
            duplicate_window=120.0,
            is_held_back=True,
            fetch_rate=2.0,
            acknowledge_rate=1.0,
        )
    ],
    journal=JournalSnapshot(
        path="j", size=4096, on_record=7, unwritten=2, lag=0.5, oldest_age=3.0, recovered=RecoveredCounts(1, 2, 3, 4)
    ),
)
NO_FIGURES = {"version", "time", "elapsed", "pid", "number"}
"""Numbers of a snapshot that say nothing of the queue's work."""


def figure(subject: Subject, path: str) -> Figure:
    """Return a row of the table."""
    (found,) = [one for one in FIGURES if (one.subject, one.path) == (subject, path)]
    return found


def read_paths(subject: str) -> set[str]:
    """Return the fields that the figures of a subject read."""
    paths = set()
    for one in FIGURES:
        if one.subject == subject:
            paths |= {f"{one.path}.{part}" for part in one.parts} or {one.path}
    return paths


def numbers(struct: type[msgspec.Struct], prefix: str = "") -> set[str]:
    """Return the paths of all numbers in a struct, and in the structs that are its fields."""
    found = set()
    for name, hint in typing.get_type_hints(struct).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            found |= numbers(hint, f"{prefix}{name}.")
        elif int in options or float in options:
            found.add(prefix + name)
    return found


@pytest.mark.parametrize(
    ("subject", "struct"),
    [
        ("queue", Snapshot),
        ("collector", CollectorSnapshot),
        ("worker", WorkerSnapshot),
        ("group", WorkerGroupSnapshot),
        ("feed", FeedSnapshot),
        ("journal", JournalSnapshot),
    ],
)
def test_every_number_of_a_snapshot_is_in_the_table(subject: str, struct: type[msgspec.Struct]) -> None:
    """A new field without a row would be missing from exporters, pages and documentation."""
    # The exporters' count of finished events is `events.ended`, which includes dead letters.
    assert numbers(struct) - NO_FIGURES - {"events.finished"} <= read_paths(subject)


@pytest.mark.parametrize("one", FIGURES, ids=lambda one: f"{one.subject} {one.path}")
def test_every_figure_can_be_read(one: Figure) -> None:
    """Each part of a known figure is a number, with the key of its subject; an unknown one has no samples."""
    samples = list(one.samples(SNAPSHOT))
    assert all(isinstance(value, int | float) for _, _, value in samples)
    assert {key for key, _, _ in samples} <= {{"collector": "a", "group": "gpu", "feed": "orders"}.get(one.subject)}
    if one.path in ("queued", "job_seconds"):
        assert samples == []
    else:
        assert [part for _, part, _ in samples] == [*(one.parts or [""])]


def test_figures_are_those_of_the_snapshot() -> None:
    """Places, outcomes, percentiles and sums are read from the fields that the names promise."""
    read = {(one.subject, one.path): {part: value for _, part, value in one.samples(SNAPSHOT)} for one in FIGURES}
    assert read["queue", "events"] == {"in_handlers": 3, "queued": 4, "scheduled": 1, "dead": 2}
    assert read["queue", "events.ended"] == {"": 12}
    assert read["queue", "is_healthy"] == {"": True}
    assert read["queue", "workers_memory"] == {"": 4096}
    assert read["collector", "outcomes"] == {"ok": 10, "error": 2}
    times = {"p50": 0.01, "p95": 0.02, "p99": 0.03}
    assert read["collector", "service_time"] == times
    assert read["collector", "service_seconds"] == {"": 0.7}


def test_the_names_of_exported_metrics_stay() -> None:
    """Dashboards depend on them."""
    assert {one.prometheus for one in FIGURES if one.prometheus} == {
        "healthy", "events_accepted", "events_finished", "events_dropped", "events", "consumers", "consumers_wanted",
        "workers", "workers_wanted", "workers_memory_bytes", "shared_memory_bytes", "workers_cpu_seconds",
        "worker_restarts",
        "handled", "busy", "service_time_seconds", "wait_time_seconds",
        "group_healthy", "group_workers", "group_workers_wanted", "group_workers_busy", "group_worker_restarts",
        "group_memory_bytes", "group_cpu_seconds",
        "feed_healthy", "feed_fetched", "feed_held", "feed_settled", "feed_held_bytes", "feed_held_back",
        "journal_healthy", "journal_bytes", "journal_events", "journal_unwritten", "journal_lag_seconds",
    }  # fmt: skip
    assert {one.opentelemetry for one in FIGURES if one.opentelemetry} == {
        "events.accepted", "events.dropped", "events", "consumers", "workers", "worker.restarts", "handled",
        "group.workers", "group.worker.restarts",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "{event}", "-"),
        (0, "{event}", "0"),
        (12345, "{event}", "12,345"),
        (0.0, "s", "-"),
        (0.0123, "s", "12.3 ms"),
        (0.0, "{event}/s", "0"),
        (0.99, "{cpu}", "99%"),
        (34_000_000, "By", "34 MB"),
    ],
)
def test_a_figure_is_written_in_its_unit(value: float | None, unit: Any, text: str) -> None:
    """An unknown figure is a dash, and so is a time of 0, which was never measured."""
    assert text_of(value, unit) == text


def test_the_json_has_the_fields_of_the_public_tuples() -> None:
    """A snapshot is filled from them by position."""
    assert Quantiles.__struct_fields__ == Percentiles._fields
    assert EventCounts.__struct_fields__ == (*Accounting._fields, "dropped")


# -- documentation --


def test_the_page_explains_every_column() -> None:
    """docs/watching.md has the columns of `event-collector top`, in order, in the words of the table."""
    expected = [
        [", ".join(f"`{heading}`" for heading, _ in one.columns()), one.subject, one.meaning]
        for one in FIGURES
        if one.subject != "queue" and any(one.columns())
    ]
    assert table(PAGE, "column") == expected


def test_the_page_has_every_exported_metric() -> None:
    """docs/watching.md has the metrics, in order, with their labels, in the words of the table."""
    expected = []
    for one in FIGURES:
        if one.prometheus:
            name = f"event_collector_{one.prometheus}" + ("_total" if one.kind == "counter" else "")
            labels = [one.subject] * (one.subject in ("collector", "group", "feed")) + [one.label] * bool(one.label)
            expected.append([
                f"`{name}`",
                ", ".join(f"`{label}`" for label in labels),
                f"`{one.opentelemetry}`" if one.opentelemetry else "",
                one.meaning,
            ])  # fmt: skip
    assert table(PAGE, "Prometheus") == expected
