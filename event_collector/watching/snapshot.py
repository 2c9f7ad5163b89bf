"""Snapshots: a queue at one instant as plain values, and as a line of JSON for those who watch it.

Times are in seconds, sizes in bytes. Rates are taken since the previous snapshot, `elapsed` seconds earlier; the first
snapshot has none. The table in figures.py has the meaning of each number.

Readers skip unknown fields. `VERSION` changes only when a field disappears or changes its meaning.
"""

from typing import Final, NamedTuple

import msgspec

from event_collector.watching.feeds import FeedSnapshot
from event_collector.watching.histograms import TimeHistogram
from event_collector_workers.environment import DEFAULT_GROUP

VERSION: Final = 1


class EventCounts(msgspec.Struct, frozen=True):
    """The places of all events: accepted = finished + in_handlers + queued + scheduled + dead; see `Accounting`."""

    accepted: int
    finished: int
    in_handlers: int
    queued: int
    scheduled: int
    dead: int
    dropped: int

    @property
    def ended(self) -> int:
        """Events that have their results, dead letters included."""
        return self.finished + self.dead


class Quantiles(msgspec.Struct, frozen=True):
    """The `Percentiles` of the last events' times; 0 before the first event."""

    p50: float
    p95: float
    p99: float


class Outcomes(NamedTuple):
    """How the attempts of a collector ended."""

    ok: int
    error: int


class CollectorSnapshot(msgspec.Struct, frozen=True):
    """One collector."""

    key: str
    place: str
    """Where new events run: "coroutine", "thread", "process" or "executor"."""
    events: int
    errors: int
    rate: float | None
    busy: int
    queued: int | None
    """None with several collectors, since events are routed after they have waited."""
    service_seconds: float
    """Time of all attempts in the handler."""
    service_time: Quantiles
    wait_time: Quantiles
    service_histogram: TimeHistogram | None = None
    """None unless an exporter keeps histograms."""
    wait_histogram: TimeHistogram | None = None

    @property
    def outcomes(self) -> Outcomes:
        """Attempts that succeeded, and that failed."""
        return Outcomes(max(0, self.events - self.errors), self.errors)


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """One worker process."""

    pid: int | None
    state: str
    """starting, ready, retiring or lost."""
    cpu: float | None
    cpu_seconds: float
    memory: int | None
    """None while unknown."""
    job_seconds: float | None
    """None between events."""
    in_hand: int
    finished: int
    group: str = DEFAULT_GROUP
    """The name of its worker group."""
    number: int = 0
    """Its number in the group, as `worker_number()`."""


class WorkerGroupSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The worker processes of one group."""

    name: str
    """"default" for the collectors without `workers=`."""
    ready: int
    target: int
    busy: int
    restarts: int
    cpu_seconds: float
    memory: int
    """Bytes that only its processes use, where known."""
    problem: str | None
    """Why its events fail: its processes die again and again."""

    @property
    def is_healthy(self) -> bool:
        """Whether its processes survive."""
        return self.problem is None


class ProgressSnapshot(msgspec.Struct, frozen=True):
    """An event in a handler that reports its progress, and what it has reported last."""

    event: int
    """Its id, as `event.id`."""
    collector: str | None
    """None if it is not known: a task that the handler has started makes the reports."""
    worker: int | None
    """The process id of its worker; None in the program itself."""
    done: float
    total: float | None
    """None if it is unknown."""
    note: str
    age: float
    """Seconds since the report."""


class RecoveredCounts(msgspec.Struct, frozen=True):
    """What earlier programs had left in a journal when this one opened it."""

    events: int = 0
    """Unfinished events, which run again."""
    dead_letters: int = 0
    buried: int = 0
    """Events that could not run again and became dead letters."""
    unreadable: int = 0
    """Dead letters that cannot be decoded. They stay in the file."""
    is_torn: bool = False
    """Whether the last transaction was cut and is lost."""


class JournalSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The journal of a queue. Numbers are None while the queue does not run."""

    path: str
    size: int
    """Of the file and its write-ahead log, in bytes."""
    on_record: int | None = None
    """Events in the file: unfinished ones, and those that the program has not acknowledged."""
    unwritten: int | None = None
    """Events that wait to be written, so that their senders wait."""
    lag: float | None = None
    """Seconds for which the oldest change has waited to be written; 0 if none waits."""
    oldest_age: float | None = None
    """Age of the oldest event in the file; None if there is none, or if nobody has looked of late."""
    trouble: str | None = None
    """Why it cannot be written now; None if it can."""
    last_error: str = ""
    """Empty if there was none since the start of the program."""
    last_error_time: float = 0.0
    """Seconds since 1970, UTC."""
    recovered: RecoveredCounts = RecoveredCounts()

    @property
    def is_healthy(self) -> bool:
        """Whether it can be written."""
        return self.trouble is None


class Decision(msgspec.Struct, frozen=True):
    """A change of a pool's size, or the move of an adaptive collector, with its reason."""

    subject: str
    before: str
    after: str
    reason: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A queue at one instant."""

    version: int = VERSION
    time: float
    """Seconds since 1970, UTC."""
    elapsed: float | None
    """Seconds since the previous snapshot; None if that is missing or too old for rates."""
    pid: int
    queue: str
    """Its id, as in the log."""
    state: str
    """starting, running, draining (the shutdown has begun) or stopped."""
    problem: str | None
    """Why a running queue does not work: its worker processes die again and again."""
    events: EventCounts
    arrival_rate: float | None
    departure_rate: float | None
    load: float
    consumers: int
    target_consumers: int
    workers_ready: int
    target_workers: int
    worker_restarts: int
    workers_cpu_seconds: float
    cpu: float | None
    collectors: list[CollectorSnapshot]
    workers: list[WorkerSnapshot]
    decisions: list[Decision]
    """The last ones, oldest first."""
    is_paused: bool = False
    """Whether the queue as a whole is paused."""
    paused_collectors: list[str] = []
    """Keys of the collectors that are paused by themselves."""
    groups: list[WorkerGroupSnapshot] = []
    """The groups of worker processes; none if no collector runs in any."""
    worker_failure: str = ""
    """How the last worker ended that ended unexpectedly, or could not start; empty if none did."""
    progress: list[ProgressSnapshot] = []
    """Of the events in handlers that report it, at most 100 of them, the oldest first."""
    shared_memory: int = 0
    """Bytes that are shared with the worker processes for large values."""
    shared_memory_in_use: int = 0
    """Those with a value that something refers to, or that await a result."""
    max_shared_memory: int = 0
    feeds: list[FeedSnapshot] = []
    """Those that run, and the last ones that have ended."""
    journal: JournalSnapshot | None = None
    """None without a journal."""

    @property
    def is_healthy(self) -> bool:
        """Whether the queue runs and its worker processes survive."""
        return self.state == "running" and self.problem is None

    def worker_name(self, worker: WorkerSnapshot) -> str:
        """Return what tells a worker process from all others: "worker 0", or "gpu 0" where there are several groups."""
        return f"{worker.group if len(self.groups) > 1 else 'worker'} {worker.number}"

    @property
    def workers_memory(self) -> int:
        """Bytes that only the worker processes use, where known."""
        return sum(worker.memory or 0 for worker in self.workers)


class _Header(msgspec.Struct):
    version: int


_encode: Final = msgspec.json.Encoder().encode
_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode: Final = msgspec.json.Decoder(Snapshot).decode


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return a snapshot as a line of JSON."""
    return _encode(snapshot) + b"\n"


def decode_snapshot(line: bytes) -> Snapshot:
    """Return the snapshot of a line; a ValueError says that it is none, or one of another version."""
    try:
        version = _decode_header(line).version
        if version == VERSION:
            return _decode(line)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(f"what it sent is no snapshot of a queue: {exc}") from exc
    raise ValueError(f"it sends snapshots of version {version}, this program reads version {VERSION}")
