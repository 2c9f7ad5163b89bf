"""The history of a queue for the plots: a point each second for an hour, and each 10 seconds for a day.

    point --> seconds (an hour) --> mean of 10 --> tens (a day)

Memory is bounded: about 2.5 MB for a queue, however long it is watched.
"""

import math
from array import array
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from event_collector.watching.details import Details
from event_collector.watching.snapshot import Quantiles, Snapshot

HOUR: Final = 3600
DAY: Final = 86_400
STEP: Final = 10
"""Points of a second in a point of the day."""
SLACK: Final = 256
"""Points that a track has beyond its length before it drops them."""

Point = dict[str, float | None]

NAMES: Final = (
    "time", "accepted_rate", "ended_rate", "error_rate", "queued", "in_handlers", "p50", "p95", "p99", "consumers",
    "target_consumers", "workers", "target_workers", "cpus_used", "cpus_of_others", "cpus", "workers_memory",
    "memory_used", "memory", "loop_busy", "lag",
)  # fmt: skip
"""The columns of the history. Times are in seconds, sizes in bytes; plots.js draws them."""


class Track:
    """The last points, a column for each name. NaN stands for an unknown number."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._columns = {name: array("d") for name in NAMES}

    def __len__(self) -> int:
        return min(self._length, len(self._columns["time"]))

    def __repr__(self) -> str:
        return f"<Track of {len(self)} points>"

    def add(self, point: Mapping[str, float | None]) -> None:
        """Add a point, and drop what is too old."""
        for name, column in self._columns.items():
            value = point.get(name)
            column.append(math.nan if value is None else value)
            if len(column) >= self._length + SLACK:
                del column[: -self._length]

    def mean(self, points: int) -> Point:
        """Return the means of the last points; the time is that of the last one."""
        found: Point = {}
        for name, column in self._columns.items():
            known = [value for value in column[-points:] if not math.isnan(value)]
            found[name] = sum(known) / len(known) if known else None
        found["time"] = self._columns["time"][-1]
        return found

    def since(self, instant: float) -> dict[str, list[float | None]]:
        """Return the columns of the points since an instant."""
        times = self._columns["time"]
        begin = len(times) - len(self)
        while begin < len(times) and times[begin] < instant:
            begin += 1
        return {
            name: [None if math.isnan(value) else value for value in column[begin:]]
            for name, column in self._columns.items()
        }


class History:
    """The history of one queue. Points come in order of time."""

    def __init__(self) -> None:
        self._seconds, self._tens = Track(HOUR), Track(DAY // STEP)
        self._added = 0
        self.last: Point = {}

    def __repr__(self) -> str:
        return f"<History {self._seconds!r} and {self._tens!r}>"

    def add(self, point: Point) -> None:
        """Add the point of a second."""
        self.last = point
        self._seconds.add(point)
        self._added += 1
        if self._added % STEP == 0:
            self._tens.add(self._seconds.mean(STEP))

    def columns(self, window: float) -> dict[str, Any]:
        """Return the columns of the last `window` seconds, and the seconds between two points as `step`."""
        since = (self.last.get("time") or 0.0) - window
        track = self._seconds if window <= HOUR else self._tens
        return {"step": 1 if track is self._seconds else STEP, **track.since(since)}


def point_of(snapshot: Snapshot, details: Details | None, before: Snapshot | None) -> Point:
    """Return the point of a snapshot; `before` is the previous one, for the rate of errors."""
    times = latency(snapshot)
    errors = sum(one.errors for one in snapshot.collectors)
    rate = None
    if before is not None and snapshot.elapsed and before.pid == snapshot.pid:
        rate = max(0, errors - sum(one.errors for one in before.collectors)) / snapshot.elapsed
    point: Point = {
        "time": snapshot.time,
        "accepted_rate": snapshot.arrival_rate,
        "ended_rate": snapshot.departure_rate,
        "error_rate": rate,
        "queued": snapshot.events.queued,
        "in_handlers": snapshot.events.in_handlers,
        "p50": times.p50 or None,
        "p95": times.p95 or None,
        "p99": times.p99 or None,
        "consumers": snapshot.consumers,
        "target_consumers": snapshot.target_consumers,
        "workers": snapshot.workers_ready,
        "target_workers": snapshot.target_workers,
        "cpus_used": cpu_used(snapshot),
        "workers_memory": snapshot.workers_memory or None,
    }
    if details is not None:
        machine, queue = details.machine, details.queue
        point |= {
            "cpus_of_others": machine.cpus_of_others,
            "cpus": machine.cpus,
            "memory_used": machine.memory_used if machine.memory is not None else None,
            "memory": machine.memory,
            "loop_busy": queue.loop_busy,
            "lag": queue.lag,
        }
    return point


def latency(snapshot: Snapshot) -> Quantiles:
    """Return percentiles of the time in the handler: of the collector that has the slowest, since they do not add."""
    return max((one.service_time for one in snapshot.collectors), key=attrgetter("p95"), default=Quantiles(0, 0, 0))


def cpu_used(snapshot: Snapshot) -> float | None:
    """Return the CPUs that the program and its workers use."""
    if snapshot.cpu is None:
        return None
    return snapshot.cpu + sum(one.cpu or 0.0 for one in snapshot.workers)
