"""What `event-collector top` shows of a snapshot: lines of text, as a pure function."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from event_collector.watching.figures import FIGURES, Subject
from event_collector.watching.snapshot import Snapshot
from event_collector.watching.tables import UNKNOWN, columns, printable, text_of

__all__ = ["HEAD", "PLAIN", "WARNING", "Line", "page"]

PLAIN: Final = ""
HEAD: Final = "bold"
WARNING: Final = "bold red"

DECISIONS: Final = 5
"""Decisions that are shown, the last ones."""
SILENCE: Final = 3.0
"""Seconds without a snapshot that are worth a word."""


class Line(NamedTuple):
    """A line of text, and how it looks where looks can be had: PLAIN, HEAD or WARNING."""

    text: str
    style: str = PLAIN


def page(snapshot: Snapshot, silence: float = 0.0) -> list[Line]:
    """Return what is shown; `silence` is how many seconds ago the snapshot came."""
    return [Line(printable(line.text), line.style) for line in _lines(snapshot, silence)]


def _lines(snapshot: Snapshot, silence: float) -> Iterator[Line]:
    events = snapshot.events
    clock = datetime.fromtimestamp(snapshot.time).astimezone().strftime("%H:%M:%S")
    yield Line(
        f"{snapshot.queue}  {snapshot.state}  pid {snapshot.pid}  CPU {text_of(snapshot.cpu, '{cpu}')}  {clock}",
        HEAD,
    )
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
    collectors = [(one, (one.key, one.place)) for one in snapshot.collectors]
    yield from _table("collector", ("collector", "runs in"), collectors)
    if snapshot.decisions:
        yield Line("")
        yield Line("last decisions", HEAD)
        for one in reversed(snapshot.decisions[-DECISIONS:]):
            yield Line(f"{one.subject} {one.before} -> {one.after}: {one.reason}")
    if snapshot.workers:
        workers = [
            (one, (UNKNOWN if one.pid is None else str(one.pid), one.state)) for one in snapshot.workers
        ]
        yield from _table("worker", ("worker", "state"), workers)


def _table(
    subject: Subject, head: Sequence[str], rows: Sequence[tuple[object, Sequence[str]]]
) -> Iterator[Line]:
    """Yield a table of collectors or workers, each with its first cells; the other columns are figures."""
    shown = [
        (heading, read, figure.unit)
        for figure in FIGURES
        if figure.subject == subject
        for heading, read in figure.columns()
    ]
    headings = (*head, *(heading for heading, _, _ in shown))
    cells = [(*first, *(text_of(read(one), unit) for _, read, unit in shown)) for one, first in rows]
    yield Line("")
    top, *others = columns(headings, cells).splitlines()
    yield Line(top, HEAD)
    yield from map(Line, others)


def _rate(rate: float | None) -> str:
    return text_of(rate, "{event}/s")
