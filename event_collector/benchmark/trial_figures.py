"""The figures of a comparison: the contenders, the rounds, and what was measured of each. Seconds and bytes."""

from statistics import median

import msgspec

from event_collector.benchmark.estimate import Estimate, estimate, memory_growth
from event_collector.watching.tables import plural


class Contender(msgspec.Struct, frozen=True):
    """One way to run the handler."""

    mode: str  # coroutine, thread or process
    workers: int = 0  # worker processes; 0 in the other modes
    rewritten: bool = False  # whether a plain handler runs on the event loop, as if it were written as `async def`
    batch: int = 0  # maximum number of events in a call of a batch handler; 0 for a handler that gets one event

    @property
    def label(self) -> str:
        """Name of the contender in tables."""
        if self.rewritten:
            return "coroutine, if async def"
        label = f"process, {plural(self.workers, 'worker')}" if self.mode == "process" else self.mode
        return f"{label}, batches of {self.batch}" if self.batch else label


class RoundOrder(msgspec.Struct, frozen=True):
    """The parameters of one round."""

    in_flight: int  # events in flight at any time
    events: int  # maximum number of events
    seconds: float  # no event is sent after this time; events in flight are finished


class RoundResult(msgspec.Struct, frozen=True):
    """The figures of one round. CPU times and waiting times are sums over all its events."""

    in_flight: int
    events: int
    failed: int
    seconds: float  # from the first event sent to the last one finished
    p50: float  # median time from sending an event to its end
    p99: float
    own_cpu: float  # CPU seconds of the program itself
    worker_cpu: float  # CPU seconds of its worker processes
    own_queued: float  # seconds in which the program waited for a CPU; 0 if the platform does not report them
    worker_queued: float
    own_memory: int  # private memory of the program after the round
    worker_memory: int
    lag: float  # longest delay of another task of the event loop
    error: str | None = None  # text of the first failure

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds if self.seconds > 0 else 0.0


class HandlerProfile(msgspec.Struct, frozen=True):
    """Times of the handler by itself, on an event loop, one event at a time; medians."""

    events: int
    wall: float  # from the call to the end, without preemption by other programs
    cpu: float
    block: float  # longest time for which an event blocks the event loop
    worst: float  # the maximum of the same over all events


class TransferCost(msgspec.Struct, frozen=True):
    """The cost of carrying the values of one event to a worker process and back."""

    seconds: float  # time to encode and decode them
    size: int  # bytes, both ways


class Readiness(msgspec.Struct, frozen=True):
    """The first answer of the process that measures a contender."""

    refusal: str | None = None  # the reason why the handler cannot run this way; None if it can
    profile: HandlerProfile | None = None
    transfer: TransferCost | None = None
    threads: int = 1  # CPUs that are granted to each worker process


class Measured(msgspec.Struct):
    """One contender with all that was measured of it.

    Only rounds that count are kept; those of the same index were run one after the other, for all contenders.
    """

    contender: Contender
    rounds: list[RoundResult] = msgspec.field(default_factory=list)
    tries: dict[int, float] = msgspec.field(default_factory=dict)  # events per second by events in flight
    alone: float = 0.0  # seconds of an event that is alone; 0 if unknown
    busy_alone: float = 0.0  # the share of that time in which the event kept a CPU busy
    profile: HandlerProfile | None = None  # the handler by itself; only of contenders that run it on the event loop
    transfer: TransferCost | None = None  # cost of carrying its values; only of worker processes
    threads: int = 1  # CPUs that are granted to each worker process
    refusal: str | None = None  # the reason why there are no rounds, or no more

    @property
    def label(self) -> str:
        """Name of the contender in tables."""
        return self.contender.label

    def refuse(self, reason: str) -> None:
        """Note why there are no rounds, or no more."""
        self.refusal = reason

    def note_readiness(self, readiness: Readiness) -> None:
        """Take what was measured before the first round."""
        self.profile, self.transfer, self.threads = readiness.profile, readiness.transfer, readiness.threads

    def note_alone(self, result: RoundResult, busy: float) -> None:
        """Take a round with one event at a time; `busy`: share of the time in which it kept a CPU busy."""
        self.alone = result.p50
        self.busy_alone = 1.0 if result.failed else busy
        self.note_try(result)

    def note_try(self, result: RoundResult) -> float:
        """Note and return the rate of a round that does not count."""
        self.tries[result.in_flight] = result.rate
        return result.rate

    def add_round(self, result: RoundResult) -> None:
        """Add a round that counts."""
        self.rounds.append(result)

    @property
    def usable(self) -> bool:
        """Whether it can be judged: it was not refused, and some events succeeded."""
        return self.refusal is None and any(one.events > one.failed for one in self.rounds)

    @property
    def rates(self) -> list[float]:
        """Events per second of each round."""
        return [one.rate for one in self.rounds]

    @property
    def rate(self) -> Estimate:
        """Events per second."""
        return estimate(self.rates)

    @property
    def in_flight(self) -> int:
        """Events in flight in the rounds."""
        return self.rounds[-1].in_flight

    @property
    def events(self) -> int:
        """Events of all rounds."""
        return sum(one.events for one in self.rounds)

    @property
    def failures(self) -> float:
        """The share of events that failed."""
        return sum(one.failed for one in self.rounds) / max(1, self.events)

    @property
    def error(self) -> str | None:
        """Text of the first failure."""
        return next((one.error for one in self.rounds if one.error is not None), None)

    @property
    def growth(self) -> float | None:
        """Bytes by which memory grows per event; None if it does not."""
        memory = [one.own_memory + one.worker_memory for one in self.rounds]
        return memory_growth(memory, [one.events for one in self.rounds])

    @property
    def starved(self) -> float:
        """The share of their time for which its processes were ready and had no CPU; 0 if it is not reported."""
        queued = self.per_event("own_queued", "worker_queued")
        return queued / max(1e-12, queued + self.per_event("own_cpu", "worker_cpu"))

    def median(self, name: str) -> float:
        """Return the median of one figure over the rounds."""
        return float(median(getattr(one, name) for one in self.rounds))

    def per_event(self, *names: str) -> float:
        """Return the sum of these figures over all rounds, per event."""
        return float(sum(getattr(one, name) for one in self.rounds for name in names)) / max(1, self.events)

    def busy(self, process: str) -> float:
        """Return how many CPUs the process, "own" or "worker", used or waited for on average."""
        used = sum(getattr(one, f"{process}_cpu") + getattr(one, f"{process}_queued") for one in self.rounds)
        return float(used) / max(1e-9, sum(one.seconds for one in self.rounds))
