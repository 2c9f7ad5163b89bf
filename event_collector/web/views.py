"""Views: what the templates of the pages show, computed from a watched queue and the query of a request."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from event_collector.watching.details import DeadLetterSheet, ErrorGroup, TimeSplit
from event_collector.watching.problems import find_problems
from event_collector.watching.snapshot import CollectorSnapshot, Snapshot
from event_collector.web.filters import COLOURS, Part, cpus, seconds, size
from event_collector.web.history import cpu_used, latency
from event_collector.web.watched import Watched

MOST_SHOWN: Final = 100
"""Collectors in the table. Others are found by their key."""
BINS_PER_DOUBLING: Final = 4
"""Bins of the histogram for each doubling of the time."""
HEIGHT: Final = 120.0
"""Units of the height of the histogram."""
WIDTH: Final = 1000.0

PHASES: Final = (("cidle", "queued"), ("c4", "encode"), ("c5", "transit"), ("c3", "handler"), ("c6", "decode"))
"""Colours and names of the parts of the time of an event, in order."""

ORDERS: Final[dict[str, Callable[[CollectorSnapshot], Any]]] = {
    "rate": lambda one: -(one.rate or 0.0),
    "errors": lambda one: -one.errors,
    "busy": lambda one: -one.busy,
    "p95": lambda one: -one.service_time.p95,
    "key": lambda one: one.key,
}


class Used(NamedTuple):
    """What is used of something, and what is granted, in words."""

    used: float | None
    words: str


class Bin(NamedTuple):
    """A bin of the histogram, as a rectangle."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    words: str


def overview(watched: Watched, snapshot: Snapshot, _query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the overview shows."""
    events, errors = snapshot.events, sum(one.errors for one in snapshot.collectors)
    attempts = sum(one.events for one in snapshot.collectors)
    places = (
        ("c3", events.finished, "finished"), ("c1", events.in_handlers, "running"), ("c2", events.queued, "waiting"),
        ("c5", events.scheduled, "scheduled"), ("cbad", events.dead, "dead"),
    )  # fmt: skip
    return {
        "accounting": [(kind, n / max(1, events.accepted), f"{n:,} {name}") for kind, n, name in places],
        "latency": latency(snapshot),
        "errors": errors,
        "error_share": errors / attempts if attempts else 0.0,
        "cpu": _cpu(watched, snapshot),
        "memory": _memory(watched, snapshot),
        "problems": find_problems(snapshot, watched.details),
    }


def _cpu(watched: Watched, snapshot: Snapshot) -> Used:
    machine = watched.details.machine if watched.details is not None else None
    used = cpu_used(snapshot)
    if machine is None or machine.cpus is None:
        return Used(used, "program and workers")
    return Used(used, f"of {cpus(machine.cpus)} granted")


def _memory(watched: Watched, snapshot: Snapshot) -> Used:
    machine = watched.details.machine if watched.details is not None else None
    if machine is None or machine.memory is None or machine.memory_used is None:
        return Used(snapshot.workers_memory or None, "of the workers")
    return Used(machine.memory_used, f"of {size(machine.memory)}")


def collectors(watched: Watched, snapshot: Snapshot, query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of collectors shows: at most MOST_SHOWN of those that match."""
    find, order, opened = query.get("q", ""), query.get("sort", ""), query.get("open")
    matching = [one for one in snapshot.collectors if find.lower() in one.key.lower()]
    shown = sorted(matching, key=ORDERS.get(order, ORDERS["key"]))[:MOST_SHOWN]
    chosen = [one for one in snapshot.collectors if one.key == opened]
    times = watched.time_splits()
    groups = list(watched.details.errors) if watched.details is not None else []
    setup = watched.settings.get(opened) if opened is not None else None
    return {
        "shown": shown,
        "matching": len(matching),
        "query": {"q": find, "sort": order or "key"},
        "opened": chosen,
        "splits": {one.key: split(times.get(one.key)) for one in (*shown, *chosen)},
        "split_legend": PHASES,
        "histogram": histogram(watched, opened) if chosen else [],
        "settings": _settings(setup) if setup is not None else [],
        "groups": [one for one in groups if _belongs(one, find, opened)],
    }


def _belongs(group: ErrorGroup, find: str, opened: str | None) -> bool:
    return group.collector == opened if opened is not None else find.lower() in group.collector.lower()


def split(times: TimeSplit | None) -> list[Part]:
    """Return where the time of an event goes, as parts of a bar."""
    if times is None:
        return []
    means = {name: getattr(times, name) or 0.0 for _, name in PHASES}
    whole = sum(means.values())
    return [
        (kind, means[name] / whole, f"{name} {seconds(means[name])}")
        for kind, name in PHASES
        if whole and means[name] > 0
    ]


def histogram(watched: Watched, key: str | None) -> list[Bin]:
    """Return the histogram of the time in a collector's handler, on a logarithmic scale."""
    weights: dict[int, int] = {}
    for span in watched.spans():
        if span.collector == key and span.end > span.begin:
            place = math.floor(math.log2((span.end - span.begin) / max(1, span.events)) * BINS_PER_DOUBLING)
            weights[place] = weights.get(place, 0) + span.stands_for * span.events
    if not weights:
        return []
    first, last, most = min(weights), max(weights), max(weights.values())
    width = WIDTH / (last - first + 1)
    found = []
    for place in range(first, last + 1):
        weight = weights.get(place, 0)
        height = HEIGHT * weight / most
        low, high = (2 ** (edge / BINS_PER_DOUBLING) for edge in (place, place + 1))
        words = f"{seconds(low)} to {seconds(high)}: {weight:,}"
        x = round((place - first) * width, 2)
        found.append(Bin(x, round(HEIGHT - height, 2), round(width * 0.94, 2), round(height, 2), low, high, words))
    return found


def _settings(setup: Any) -> list[tuple[str, str]]:
    """Return the settings of a collector that say something."""
    fields = msgspec.structs.asdict(setup)
    fields.pop("key", None)
    return [
        (name.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
        for name, value in fields.items()
        if value not in (None, "", [])
    ]


def workers(watched: Watched, snapshot: Snapshot, _query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of workers shows."""
    rows = [(row, share) for row, share in watched.use_of_rows() if row.worker >= 0]
    uses = {row.pid: share for row, share in rows}
    running = watched.details.running if watched.details is not None else []
    here = [one.age for one in running if one.worker < 0]
    return {"uses": uses, "here_running": seconds(max(here, default=None))}


def events(watched: Watched, _snapshot: Snapshot, query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of events shows: those that match."""
    find, details = query.get("q", "").lower(), watched.details

    def matches(one: Any) -> bool:
        return find in " ".join((str(one.event), one.collector or "", getattr(one, "error", ""))).lower()

    def found(name: str) -> list[Any]:
        return [] if details is None else list(filter(matches, getattr(details, name)))

    return {
        "query": {"q": query.get("q", "")},
        "running": found("running"),
        "slowest": found("slowest"),
        "failed": found("failed"),
    }


def scaling(watched: Watched, _snapshot: Snapshot, _query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of scaling shows."""
    return {"decisions": list(reversed(watched.details.decisions)) if watched.details is not None else []}


def decisions(watched: Watched) -> list[dict[str, Any]]:
    """Return the decisions of the autoscaler for the plots, oldest first."""
    if watched.details is None:
        return []
    fields = ("time", "subject", "before", "after", "reason")
    return [{name: getattr(one, name) for name in fields} for one in watched.details.decisions]


def colours(watched: Watched) -> dict[str, int]:
    """Return the number of the colour of each collector: the same on each page, here and in task_stream.js."""
    found = watched.snapshot.collectors if watched.snapshot is not None else []
    return {one.key: index % COLOURS + 1 for index, one in enumerate(found)}


def dead_letters(watched: Watched, _snapshot: Snapshot, _query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of dead letters shows."""
    return {"sheet": watched.details.dead_letters if watched.details is not None else DeadLetterSheet()}


def has_page(name: str, watched: Watched | None) -> bool:
    """Return whether a page has something to show for a queue: those of feeds and of the journal may have nothing."""
    snapshot = None if watched is None else watched.snapshot
    if name == "feed":
        return snapshot is not None and bool(snapshot.feeds)
    return name != "journal" or (snapshot is not None and snapshot.journal is not None)


def feeds(_watched: Watched, snapshot: Snapshot, _query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of feeds shows."""
    return {"feeds": snapshot.feeds}


def journal(_watched: Watched, snapshot: Snapshot, _query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of the journal shows."""
    found, events = snapshot.journal, snapshot.events
    places: list[tuple[str, int, str]] = [
        ("c1", events.in_handlers, "running"), ("c2", events.queued, "waiting"), ("c5", events.scheduled, "scheduled"),
    ]  # fmt: skip
    on_record = 0 if found is None else found.on_record or 0
    known = sum(count for _, count, _ in places)
    places.append(("cidle", max(0, on_record - known), "ended a moment ago, or to be acknowledged"))
    whole = max(1, known, on_record)
    return {"journal": found, "on_record": [(kind, count / whole, f"{count:,} {name}") for kind, count, name in places]}


def profiles(_watched: Watched, snapshot: Snapshot, _query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page of profiles shows."""
    return {"processes": [(one.pid, snapshot.worker_name(one)) for one in snapshot.workers if one.pid is not None]}
