"""Snapshots: a running queue at one instant, as plain values, and as lines of JSON for those who watch it.

Times are in seconds, sizes in bytes. Rates are those since the snapshot before, which took `elapsed` seconds; of the
first one there are none. A reader skips fields that it does not know: `VERSION` changes only when one that was there
is gone, or means something else.
"""

from typing import Final

import msgspec

__all__ = [
    "VERSION",
    "CollectorSnapshot",
    "Decision",
    "EventCounts",
    "Quantiles",
    "Snapshot",
    "WorkerSnapshot",
    "decode_snapshot",
    "encode_snapshot",
]

VERSION: Final = 1


class EventCounts(msgspec.Struct, frozen=True):
    """Where all events are: accepted = finished + in_handlers + queued + scheduled + dead."""

    accepted: int
    finished: int
    in_handlers: int
    queued: int
    scheduled: int
    dead: int
    dropped: int
    """Of those finished, the ones that `overflow` has dropped."""


class Quantiles(msgspec.Struct, frozen=True):
    """Times that half, 95% and 99% of the last events did not exceed; 0 before the first event."""

    p50: float
    p95: float
    p99: float


class CollectorSnapshot(msgspec.Struct, frozen=True):
    """One collector."""

    key: str
    place: str
    """Where its events run that begin now: "coroutine", "thread", "process" or "executor"."""
    events: int
    """Events that its handler has ended with, retries counted each time."""
    errors: int
    """Of these, those that failed."""
    rate: float | None
    """Events per second."""
    busy: int
    """Events that it has in its handler, or waiting for a place in a worker."""
    queued: int | None
    """Events that wait for it; None where there are several collectors, since routing comes after waiting."""
    service_seconds: float
    """Time of all its events in the handler."""
    service_time: Quantiles
    wait_time: Quantiles
    """From sending an event to its end."""


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """One worker process."""

    pid: int | None
    state: str
    """starting, ready, retiring or lost."""
    cpu: float | None
    """Share of one CPU: 1.0 is all of it."""
    cpu_seconds: float
    memory: int | None
    """Bytes that only it uses, up to 5 s old; None while they are not known."""
    job_seconds: float | None
    """Age of the event that it is in; None when it is in none."""
    in_hand: int
    """Events that were handed to it, the one it is in included."""
    finished: int


class Decision(msgspec.Struct, frozen=True):
    """A change of size, or the move of an adaptive collector, and why."""

    subject: str
    before: str
    after: str
    reason: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A queue."""

    version: int = VERSION
    time: float
    """Seconds since 1970, UTC."""
    elapsed: float | None
    """Since the snapshot before."""
    pid: int
    queue: str
    """Its name in the log."""
    state: str
    """starting, running, draining (the end has begun) or stopped."""
    problem: str | None
    """What keeps it from working although it runs: workers that die again and again."""
    events: EventCounts
    arrival_rate: float | None
    departure_rate: float | None
    load: float
    """(queued + in handlers) / consumers."""
    consumers: int
    target_consumers: int
    workers_ready: int
    target_workers: int
    worker_restarts: int
    """Workers that ended without being told to."""
    workers_cpu_seconds: float
    """CPU time of all workers, past ones included."""
    cpu: float | None
    """Share of one CPU that the program itself takes, without its workers."""
    collectors: list[CollectorSnapshot]
    workers: list[WorkerSnapshot]
    decisions: list[Decision]
    """The last ones, the oldest first."""


class _Header(msgspec.Struct):
    version: int


_encode: Final = msgspec.json.Encoder().encode
_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode: Final = msgspec.json.Decoder(Snapshot).decode


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return a snapshot as a line of JSON."""
    return _encode(snapshot) + b"\n"


def decode_snapshot(line: bytes) -> Snapshot:
    """Return the snapshot of a line.

    Raises:
        ValueError: it is none, or one of another version; the text says which.

    """
    try:
        version = _decode_header(line).version
        if version == VERSION:
            return _decode(line)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(f"what it sent is no snapshot of a queue: {exc}") from exc
    raise ValueError(f"it sends snapshots of version {version}, this program reads version {VERSION}")
