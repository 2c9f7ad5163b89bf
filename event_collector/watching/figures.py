"""The table of figures: kind, unit, meaning and exported names of each number in a snapshot.

Exporters and the tables of `event-collector top` are generated from it, and a test compares docs/watching.md with it. A
new figure is a field of a snapshot and a row here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Final, Literal

from event_collector.watching.histograms import TimeHistogram
from event_collector.watching.metrics import PLACES
from event_collector.watching.snapshot import Snapshot

Subject = Literal["queue", "collector", "group", "worker", "feed", "journal"]
Kind = Literal["counter", "gauge", "summary"]
"""A counter only grows, a gauge rises and falls, a summary has percentiles of the last events."""
Unit = Literal["1", "{event}", "{event}/s", "{message}", "{message}/s", "{worker}", "{cpu}", "s", "By"]
"""A unit in the notation of OpenTelemetry (UCUM)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, or several that differ in a label only: the events in each place, the percentiles of a time."""

    subject: Subject
    path: str
    """Its field in the subject; a dot leads to a field of a field."""
    kind: Kind
    unit: Unit
    meaning: str
    """One sentence, for help texts and documentation."""
    prometheus: str = ""
    """The name of the metric after `event_collector_`; "" if it is not exported."""
    opentelemetry: str = ""
    """The name of the instrument after `event_collector.`; "" if it is not exported."""
    heading: str = ""
    """The column of a table; "" for none."""
    label: str = ""
    """The label that tells its parts, or the buckets of its histogram, apart; "" for a single number."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """The fields at `path`, one for each value of the label, with their headings."""
    histogram: str = ""
    """Of a summary, the field with its histogram, which is exported in place of the percentiles."""

    def samples(self, snapshot: Snapshot) -> Iterator[tuple[str | None, str, float]]:
        """Yield key, part and value of each known number.

        The key is that of a collector or the name of a group or feed, else None. The part of a single number is "".
        """
        readers = {part: self._reader(part) for part in self.parts or ("",)}
        for key, subject in _subjects(self.subject, snapshot):
            for part, read in readers.items():
                value = read(subject)
                if value is not None:
                    yield key, part, value

    def histograms(self, snapshot: Snapshot) -> Iterator[tuple[str | None, TimeHistogram]]:
        """Yield the histogram of each subject that has one, with its key."""
        for key, subject in _subjects(self.subject, snapshot):
            histogram = getattr(subject, self.histogram)
            if histogram is not None:
                yield key, histogram

    def columns(self) -> Iterator[tuple[str, Callable[[object], float | None]]]:
        """Yield the heading of each column in a table of subjects, and the function that reads its value."""
        for part, heading in (self.parts or {"": self.heading}).items():
            if heading:
                yield heading, self._reader(part)

    def _reader(self, part: str) -> Callable[[object], float | None]:
        return attrgetter(f"{self.path}.{part}" if part else self.path)


def _subjects(kind: Subject, snapshot: Snapshot) -> list[tuple[str | None, object]]:
    if kind == "queue":
        return [(None, snapshot)]
    if kind == "collector":
        return [(one.key, one) for one in snapshot.collectors]
    if kind == "group":
        return [(one.name, one) for one in snapshot.groups]
    if kind == "feed":
        return [(one.name, one) for one in snapshot.feeds]
    if kind == "journal":
        return [] if snapshot.journal is None else [(None, snapshot.journal)]
    return [(None, one) for one in snapshot.workers]


_queue = partial(Figure, "queue")
_collector = partial(Figure, "collector")
_group = partial(Figure, "group")
_worker = partial(Figure, "worker")
_feed = partial(Figure, "feed")
_journal = partial(Figure, "journal")

FIGURES: Final = (
    _queue("is_healthy", "gauge", "1", "1 while the queue runs and its worker processes live, else 0.", "healthy"),
    _queue("events.accepted", "counter", "{event}", "Events accepted.", "events_accepted", "events.accepted"),
    _queue("events.ended", "counter", "{event}", "Events that have results, dead letters included.", "events_finished"),
    _queue("events.dropped", "counter", "{event}", "Events dropped by overflow.", "events_dropped", "events.dropped"),
    _queue(
        "events", "gauge", "{event}", "Events in handlers, queued, scheduled for a retry, or dead.", "events", "events",
        label="state", parts=dict.fromkeys(PLACES, ""),
    ),
    _queue("arrival_rate", "gauge", "{event}/s", "Events accepted per second since the previous snapshot."),
    _queue("departure_rate", "gauge", "{event}/s", "Events finished per second since the previous snapshot."),
    _queue("load", "gauge", "1", "Events queued and in handlers, divided by the consumers."),
    _queue("consumers", "gauge", "{event}", "Events that may be in handlers at once.", "consumers", "consumers"),
    _queue("target_consumers", "gauge", "{event}", "Consumers that the control law wants.", "consumers_wanted"),
    _queue("workers_ready", "gauge", "{worker}", "Worker processes that are ready.", "workers", "workers"),
    _queue("target_workers", "gauge", "{worker}", "Worker processes that the control law wants.", "workers_wanted"),
    _queue(
        "worker_restarts", "counter", "{worker}", "Worker processes that ended unexpectedly.",
        "worker_restarts", "worker.restarts",
    ),
    _queue("workers_memory", "gauge", "By", "Memory that only worker processes use (USS).", "workers_memory_bytes"),
    _queue("shared_memory", "gauge", "By", "Memory shared with worker processes.", "shared_memory_bytes"),
    _queue("shared_memory_in_use", "gauge", "By", "Shared memory with a value in use, or awaiting a result."),
    _queue("max_shared_memory", "gauge", "By", "Upper bound of the shared memory."),
    _queue(
        "workers_cpu_seconds", "counter", "s", "CPU time of all worker processes, past ones included.",
        "workers_cpu_seconds",
    ),
    _queue("cpu", "gauge", "{cpu}", "CPUs that the program uses, without its worker processes."),
    _collector("events", "counter", "{event}", "Attempts that have ended.", heading="events"),
    _collector("rate", "gauge", "{event}/s", "Attempts that ended per second.", heading="per s"),
    _collector("errors", "counter", "{event}", "Attempts that failed.", heading="errors"),
    _collector(
        "outcomes", "counter", "{event}", "Attempts that have ended, by outcome.", "handled", "handled",
        label="outcome", parts={"ok": "", "error": ""},
    ),
    _collector("busy", "gauge", "{event}", "Events in the handler or waiting for a worker.", "busy", heading="busy"),
    _collector("queued", "gauge", "{event}", "Queued events, if this is the only collector.", heading="queued"),
    _collector("service_seconds", "counter", "s", "Time of all attempts in the handler."),
    _collector(
        "service_time", "summary", "s", "Time of an event in its handler.", "service_time_seconds",
        label="le", parts={"p50": "p50", "p95": "p95", "p99": "p99"},
        histogram="service_histogram",
    ),
    _collector(
        "wait_time", "summary", "s", "Time from sending an event to its end.", "wait_time_seconds",
        label="le", parts={"p50": "", "p95": "p95 in all", "p99": ""}, histogram="wait_histogram",
    ),
    _group("is_healthy", "gauge", "1", "1 while the processes of the group live, else 0.", "group_healthy"),
    _group(
        "ready", "gauge", "{worker}", "Processes of the group that are ready.", "group_workers", "group.workers",
        heading="ready",
    ),
    _group("target", "gauge", "{worker}", "Processes that the law wants.", "group_workers_wanted", heading="wanted"),
    _group("busy", "gauge", "{worker}", "Processes that have events.", "group_workers_busy", heading="busy"),
    _group(
        "restarts", "counter", "{worker}", "Processes that ended unexpectedly.", "group_worker_restarts",
        "group.worker.restarts", heading="died",
    ),
    _group("memory", "gauge", "By", "Memory that only they use (USS).", "group_memory_bytes", heading="memory"),
    _group(
        "cpu_seconds", "counter", "s", "CPU time of all its processes, past ones included.", "group_cpu_seconds",
        heading="CPU time",
    ),
    _feed("is_healthy", "gauge", "1", "1 while its source gives messages and settles them, else 0.", "feed_healthy"),
    _feed("fetch_rate", "gauge", "{message}/s", "Messages fetched per second.", heading="in per s"),
    _feed("acknowledge_rate", "gauge", "{message}/s", "Messages acknowledged per second.", heading="done per s"),
    _feed("counts.fetched", "counter", "{message}", "Messages fetched.", "feed_fetched"),
    _feed("counts.held", "gauge", "{message}", "Messages that are not settled yet.", "feed_held", heading="held"),
    _feed(
        "counts", "counter", "{message}", "Messages that are not held any more, by their fate.", "feed_settled",
        label="fate",
        parts={
            "acknowledged": "done", "retried": "again", "buried": "dead", "released": "", "duplicates": "duplicates",
            "unsettled": "",
        },
    ),
    _feed("held_bytes", "gauge", "By", "Data of the messages that are not settled yet.", "feed_held_bytes"),
    _feed("is_held_back", "gauge", "1", "1 while handlers have to catch up before it fetches.", "feed_held_back"),
    _feed("remembered", "gauge", "{message}", "Finished messages that are remembered, to find duplicates."),
    _feed("duplicate_window", "gauge", "s", "Time for which finished messages are remembered."),
    _feed("last_error_time", "gauge", "s", "When the last error came, since 1970."),
    _journal("is_healthy", "gauge", "1", "1 while the journal can be written, else 0.", "journal_healthy"),
    _journal("size", "gauge", "By", "Size of the journal and its write-ahead log.", "journal_bytes"),
    _journal("on_record", "gauge", "{event}", "Events in the journal.", "journal_events"),
    _journal("unwritten", "gauge", "{event}", "Events that wait to be written.", "journal_unwritten"),
    _journal("lag", "gauge", "s", "Time for which the oldest change waits to be written.", "journal_lag_seconds"),
    _journal("oldest_age", "gauge", "s", "Age of the oldest event in the journal."),
    _journal("last_error_time", "gauge", "s", "When the last error came, since 1970."),
    _journal(
        "recovered", "gauge", "{event}", "Events and dead letters that earlier programs had left.",
        label="kind", parts=dict.fromkeys(("events", "dead_letters", "buried", "unreadable"), ""),
    ),
    _worker("cpu", "gauge", "{cpu}", "CPUs that the process uses.", heading="CPU"),
    _worker("cpu_seconds", "counter", "s", "CPU time of the process."),
    _worker("memory", "gauge", "By", "Memory that only the process uses (USS).", heading="memory"),
    _worker("job_seconds", "gauge", "s", "Age of the event that the process runs.", heading="event since"),
    _worker("in_hand", "gauge", "{event}", "Events that the process has not answered.", heading="in hand"),
    _worker("finished", "counter", "{event}", "Events that the process has answered.", heading="events"),
)  # fmt: skip
