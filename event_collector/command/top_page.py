"""What `event-collector top` shows of a snapshot: lines of text, as a pure function."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from event_collector.watching.snapshot import CollectorSnapshot, Snapshot, WorkerSnapshot
from event_collector.watching.tables import columns, duration, printable, short, size

__all__ = ["HEAD", "PLAIN", "WARNING", "Line", "page"]

PLAIN: Final = ""
HEAD: Final = "bold"
WARNING: Final = "bold red"

DECISIONS: Final = 5
"""Decisions that are shown, the last ones."""
NOTHING: Final = "-"
SILENCE: Final = 3.0
"""Seconds without a snapshot that are worth a word."""

COLLECTORS: Final = (
    "collector", "runs in", "events", "per s", "errors", "busy", "queued", "p50", "p95", "p99", "p95 in all",
)  # fmt: skip
"""The percentiles are those in the handler, and from sending to the end."""
WORKERS: Final = ("worker", "state", "CPU", "memory", "event since", "in hand", "events")


class Line(NamedTuple):
    """A line of text, and how it looks where looks can be had: PLAIN, HEAD or WARNING."""

    text: str
    style: str = PLAIN


def page(snapshot: Snapshot, silence: float = 0.0) -> list[Line]:
    """Return what is shown; `silence` is how many seconds ago the snapshot came."""
    return [Line(printable(line.text), line.style) for line in _lines(snapshot, silence)]


def _lines(snapshot: Snapshot, silence: float) -> Iterator[Line]:
    events = snapshot.events
    cpu = NOTHING if snapshot.cpu is None else f"{snapshot.cpu:.0%}"
    clock = datetime.fromtimestamp(snapshot.time).astimezone().strftime("%H:%M:%S")
    yield Line(f"{snapshot.queue}  {snapshot.state}  pid {snapshot.pid}  CPU {cpu}  {clock}", HEAD)
    if silence > SILENCE:
        yield Line(f"no answer for {silence:.0f} s: its event loop is blocked, or it is stopped", WARNING)
    if snapshot.problem is not None:
        yield Line(snapshot.problem, WARNING)
    yield Line(
        f"events: {events.accepted:,} accepted = {events.finished:,} finished + {events.in_handlers:,} in handlers + "
        f"{events.queued:,} queued + {events.scheduled:,} scheduled + {events.dead:,} dead; {events.dropped:,} dropped"
    )
    yield Line(
        f"per second: {_rate(snapshot.arrival_rate)} in, {_rate(snapshot.departure_rate)} out; load {snapshot.load:.2f}"
    )
    yield Line(
        f"consumers: {snapshot.consumers:,}, wanted {snapshot.target_consumers:,}; "
        f"workers: {snapshot.workers_ready:,}, wanted {snapshot.target_workers:,}, died {snapshot.worker_restarts:,}"
    )
    yield from _table(COLLECTORS, [_collector(one) for one in snapshot.collectors])
    if snapshot.decisions:
        yield Line("")
        yield Line("last decisions", HEAD)
        for one in reversed(snapshot.decisions[-DECISIONS:]):
            yield Line(f"{one.subject} {one.before} -> {one.after}: {one.reason}")
    if snapshot.workers:
        yield from _table(WORKERS, [_worker(one) for one in snapshot.workers])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Line]:
    yield Line("")
    first, *others = columns(head, rows).splitlines()
    yield Line(first, HEAD)
    yield from map(Line, others)


def _collector(one: CollectorSnapshot) -> tuple[str, ...]:
    took = one.service_time
    return (
        one.key,
        one.place,
        f"{one.events:,}",
        _rate(one.rate),
        f"{one.errors:,}",
        f"{one.busy:,}",
        NOTHING if one.queued is None else f"{one.queued:,}",
        *(_time(seconds) for seconds in (took.p50, took.p95, took.p99, one.wait_time.p95)),
    )


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else NOTHING


def _worker(one: WorkerSnapshot) -> tuple[str, ...]:
    return (
        NOTHING if one.pid is None else str(one.pid),
        one.state,
        NOTHING if one.cpu is None else f"{one.cpu:.0%}",
        NOTHING if one.memory is None else size(one.memory),
        NOTHING if one.job_seconds is None else duration(one.job_seconds),
        f"{one.in_hand:,}",
        f"{one.finished:,}",
    )


def _rate(rate: float | None) -> str:
    return NOTHING if rate is None else short(rate)
