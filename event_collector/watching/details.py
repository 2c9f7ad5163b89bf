"""Details of a queue: what a viewer gets beside snapshots while it asks for it, as plain values and as a line of JSON.

A viewer that sends `REQUEST` to the monitor socket gets a line of details after each snapshot from then on. The queue
records them only while such a viewer is connected, so the first line has little to tell.

Times are in seconds. Instants are seconds since 1970, UTC. Lists are bounded. `spans`, `rows` and
`times` cover the time since the line before; `number` shows whether a line was missed. Texts are those
of the application: a page must treat keys, errors, notes and payloads as text.

Readers skip unknown fields. `DETAILS_VERSION` changes only when a field disappears or changes its meaning.
"""

from typing import Final, Literal

import msgspec

from event_collector.values.clock import clock
from event_collector_workers.autoscaler import Change

REQUEST: Final = b"details\n"
"""What a viewer sends to get details. Anything else ends its connection."""

DETAILS_VERSION: Final = 1

HERE: Final = -1
"""The number of no worker: the handler runs in the program itself."""

AttemptOutcome = Literal["ok", "error", "killed"]
"""killed: its worker process ended during it: it crashed, was out of time, or was cancelled."""


class TaskSpan(msgspec.Struct, frozen=True, array_like=True):
    """The time of one attempt in its handler, for the task stream."""

    worker: int
    """The number of the worker process in its group, from 0; one that replaces another has its number. HERE: none."""
    pid: int
    """The process id of the worker, or of the program."""
    collector: str
    """Its key; empty if it is not known."""
    begin: float
    """An instant. For workers it is accurate to about a millisecond."""
    end: float
    outcome: AttemptOutcome
    event: int
    """The id of the event; 0 if it is not known, as for values of streams and for batches."""
    events: int
    """The number of events in it: 1, or several values of a stream or events of a batch."""
    stands_for: int
    """The number of attempts that it represents: the sampling stride when it was kept. 1 for slow and failed ones."""


class RowUse(msgspec.Struct, frozen=True, array_like=True):
    """How busy one row of the task stream was since the line before; not sampled."""

    worker: int
    """As in `TaskSpan`. The row of HERE has the sum over handlers that run at the same time."""
    pid: int
    seconds: float
    """In handlers. Divided by `Details.elapsed` it is the utilisation of a worker. An attempt counts when it ends."""
    attempts: int
    """That have ended."""


class EventInHandler(msgspec.Struct, frozen=True, kw_only=True):
    """An event in a handler now."""

    event: int
    """Its id; 0 if it is not known, as for values of streams and for batches."""
    collector: str | None
    """None if it goes to several collectors."""
    place: str
    """coroutine, thread, process or executor; "here" for an event that goes to several collectors."""
    worker: int = HERE
    pid: int
    """The process id of the worker, or of the program."""
    age: float
    """Seconds in the handler."""
    waited: float | None
    """Seconds from sending it to the begin of this attempt; None if it is not known."""
    attempt: int = 1
    limit: float | None = None
    """Seconds that the handler may take; None for no limit."""
    done: float | None = None
    """What the handler has reported last by `progress()`, with `total` and `note`; None if it has not."""
    total: float | None = None
    note: str = ""
    payload: str | None = None
    """The shortened repr of its value, if the program shows payloads; else None."""


class EventTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that has ended of late, with its instants."""

    event: int
    collector: str
    outcome: AttemptOutcome
    worker: int = HERE
    pid: int
    attempt: int = 1
    sent: float | None
    """When the event was accepted; None if it is not known."""
    handed_out: float | None = None
    """When it was given to a worker process; None if it was not, or is not known: this is sampled."""
    began: float
    """When the handler began."""
    ended: float
    error: str = ""
    """Class and first line of the error."""
    payload: str | None = None


class ErrorGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that failed in one collector, with the same class and first line of their errors."""

    collector: str
    """Empty if the event failed as a whole."""
    kind: str
    """The class of the error, without its module."""
    line: str
    """The first line of its message, shortened."""
    count: int
    """Since the queue records details."""
    first: float
    last: float
    """Instants of the first and the last one."""
    event: int
    """The id of the last event."""
    traceback: str
    """Of the last one, shortened; empty if there is none."""
    payload: str | None = None


class TimeSplit(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of a collector's attempts went since the line before: means over a sample, in seconds.

    None where no attempt in the sample went that way: those that run here are not encoded.
    """

    collector: str
    samples: int
    """Attempts in the sample of `handler`: the weight of these means when several lines are averaged."""
    queued: float | None
    """From sending to the handler, or to being handed to the workers; of first attempts."""
    encode: float | None
    """Encoding the payload for a worker, which is a part of the two around it."""
    transit: float | None
    """On the way to the worker and back, with the wait behind other jobs; of events that go to one collector."""
    handler: float | None
    """In the handler. In a worker, decoding the payload and encoding the result are part of it."""
    decode: float | None
    """Decoding the reply of the worker."""


class SizeDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of the autoscaler, with the numbers right after it."""

    time: float
    subject: str
    """consumers, workers, or the key of a collector that moves."""
    before: str
    after: str
    """Numbers, or the tiers of a collector that moves: coroutine or process."""
    reason: str
    consumers: int
    """Present ones: events that may be in handlers at once."""
    wanted_consumers: int
    workers: int
    """Present ones: processes that are ready."""
    wanted_workers: int


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one collector with the same reason, class and first line of their errors."""

    group: str
    """Its identity: the same for the same collector, reason, class and line, also in another program."""
    collector: str
    reason: str
    """As in `DeadLetter`: exhausted, rejected, not retried, quarantined, deadline or undeliverable."""
    error: str = ""
    """The first line of the errors, the whole of it, with the class: with collector and reason it selects the group."""
    kind: str
    """The class; empty if the error is no exception."""
    line: str
    """The first line of the message, shortened."""
    count: int
    first: float
    last: float
    events: list[int]
    """The ids of the newest events in it, newest first."""
    traceback: str
    """Of the newest one."""
    payload: str | None = None
    """Of the newest one."""


class DeadLetterSheet(msgspec.Struct, frozen=True, kw_only=True):
    """The dead letters that the queue holds."""

    count: int = 0
    lost: int = 0
    """Letters that newer ones have replaced."""
    groups: list[DeadLetterGroup] = []
    """The groups with the newest letters, newest first."""
    ungrouped: int = 0
    """Letters in groups that are left out."""


class CollectorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a collector is set up."""

    key: str
    handler: str
    """module:qualname."""
    mode: str
    """As given, resolved if it is "auto": coroutine, thread, process, adaptive or executor."""
    timeout: float | None = None
    heartbeat: float | None = None
    retry: str = ""
    """In words; empty without retry=."""
    batch: str = ""
    topics: list[str] = []
    payload_type: str = "Any"
    result_type: str = "Any"
    on_error: str = "log"


class MachineUse(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs and memory against what the machine or container grants; None where it is not known."""

    cpus: float | None = None
    """CPUs that the program may use. What it uses is in the snapshot: `cpu`, and `cpu` of each worker."""
    cpus_of_others: float | None = None
    """Of the granted CPUs, those that other programs use."""
    memory: float | None = None
    """Bytes that the program may use with its workers; None without a limit."""
    memory_used: float | None = None
    """Bytes in use within that limit, by any program."""
    memory_of_workers: float | None = None
    """Bytes that only the workers use."""


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the queue as a whole, beside the snapshot."""

    queue_type: str = "FIFO"
    max_queue_size: int = 0
    """0: no limit."""
    overflow: str = "wait"
    senders_waiting: int = 0
    """That wait for room."""
    max_consumers: int = 0
    max_workers: int = 0
    autoscale: bool = True
    lag: float = 0.0
    """Seconds that ready callbacks have waited for their turn of the event loop, of late."""
    loop_busy: float | None = None
    """Share of the time in which the thread of the event loop was on a CPU, since the line before."""
    blocked_by: list[str] = []
    """Keys of collectors whose handlers have blocked the event loop for 0.2 s and more since the start."""
    watch_share: float | None = None
    """Share of the loop's time that the line before and its snapshot have cost, without what each event costs."""


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue tells beside a snapshot."""

    details: int = DETAILS_VERSION
    """The version. A snapshot has no such field."""
    number: int = 0
    """Of this line, from 1; a gap shows lines that this viewer has missed."""
    time: float = 0.0
    """The instant of this line."""
    elapsed: float = 0.0
    """Seconds since the line before, or since the recording began."""
    stride: int = 1
    """One of so many attempts is sampled now. It grows with the rate of events."""
    spans: list[TaskSpan] = []
    """Attempts that have ended since the line before, sampled; slow and failed ones are always among them."""
    spans_lost: int = 0
    """Spans that were left out since the line before, beside the sampling: there were too many."""
    rows: list[RowUse] = []
    running: list[EventInHandler] = []
    """The oldest ones first."""
    running_more: int = 0
    """Events in handlers that are not in `running`."""
    slowest: list[EventTimeline] = []
    """Of the last minute, the slowest first."""
    failed: list[EventTimeline] = []
    """The last ones, newest first."""
    errors: list[ErrorGroup] = []
    """The groups with the newest errors, newest first."""
    errors_ungrouped: int = 0
    """Errors in groups that are left out, or that came too fast to be looked at."""
    times: list[TimeSplit] = []
    decisions: list[SizeDecision] = []
    """Oldest first, also from before the recording."""
    dead_letters: DeadLetterSheet = DeadLetterSheet()
    machine: MachineUse = MachineUse()
    queue: QueueState = QueueState()
    settings: list[CollectorSettings] | None = None
    """None if it is the same as in an earlier line; it comes with the first line of each viewer."""
    shows_payloads: bool = False


def decided(change: Change, consumers: int, sizes: tuple[int, int, int]) -> SizeDecision:
    """Return a change of size as a decision of this instant.

    `sizes` are the numbers of wanted consumers, of ready workers, and of wanted workers.
    """
    wanted_consumers, workers, wanted_workers = sizes
    return SizeDecision(
        time=clock.wall(),
        subject=change.subject,
        before=str(change.before),
        after=str(change.after),
        reason=change.reason,
        consumers=consumers,
        wanted_consumers=wanted_consumers,
        workers=workers,
        wanted_workers=wanted_workers,
    )


class _DetailsHeader(msgspec.Struct):
    details: int = 0


_encode: Final = msgspec.json.Encoder().encode
_decode_header: Final = msgspec.json.Decoder(_DetailsHeader).decode
_decode: Final = msgspec.json.Decoder(Details).decode


def encode_details(details: Details) -> bytes:
    """Return details as a line of JSON."""
    return _encode(details) + b"\n"


def decode_details(line: bytes) -> Details | None:
    """Return the details of a line; None if it is a snapshot. A ValueError says that it is neither, or the version."""
    try:
        version = _decode_header(line).details
        if version == 0:
            return None
        if version == DETAILS_VERSION:
            return _decode(line)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(f"what it sent are no details of a queue: {exc}") from exc
    raise ValueError(f"it sends details of version {version}, this program reads version {DETAILS_VERSION}")
