"""The figures of a comparison: who is compared, what is asked of them, and what they answer. Seconds and bytes."""

import msgspec

__all__ = ["Contender", "Freight", "Opening", "Order", "Profile", "Round"]


class Contender(msgspec.Struct, frozen=True):
    """One way to run the handler."""

    mode: str
    """coroutine, thread or process."""
    workers: int = 0
    """Worker processes; 0 in the other modes."""
    rewritten: bool = False
    """A plain handler run on the event loop, as it would be if it were written as `async def`."""

    @property
    def label(self) -> str:
        """Its name in tables."""
        if self.rewritten:
            return "coroutine, if async def"
        if self.mode != "process":
            return self.mode
        return f"process, {self.workers} worker{'' if self.workers == 1 else 's'}"


class Order(msgspec.Struct, frozen=True):
    """What one round is to be."""

    in_flight: int
    """Events sent and not yet finished, all the time."""
    events: int
    """How many are sent at most."""
    seconds: float
    """After so much time no more are sent; those sent are finished."""


class Round(msgspec.Struct, frozen=True):
    """What one round has shown. CPU times and waits are those of all its events together."""

    in_flight: int
    events: int
    failed: int
    seconds: float
    """From the first event sent to the last one finished."""
    p50: float
    """The median time from sending an event to its end."""
    p99: float
    own_cpu: float
    """CPU seconds of the program itself."""
    worker_cpu: float
    """CPU seconds of its worker processes."""
    own_queued: float
    """Seconds in which the program was ready to run, and the machine ran something else; 0 where nobody knows."""
    worker_queued: float
    own_memory: int
    """Bytes that only the program has, after the round."""
    worker_memory: int
    lag: float
    """The longest time for which another task of the event loop was kept waiting."""
    error: str | None = None
    """The first failure, in words."""

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds if self.seconds > 0 else 0.0


class Profile(msgspec.Struct, frozen=True):
    """The handler by itself, on an event loop, one event after the other; medians."""

    events: int
    wall: float
    """From its call to its end, without the time in which it was interrupted."""
    cpu: float
    block: float
    """The longest time within it for which the event loop could do nothing else."""
    worst: float
    """The same of the event with the longest."""


class Freight(msgspec.Struct, frozen=True):
    """What it takes to carry the values of one event to a worker process and back."""

    seconds: float
    """To encode and decode them."""
    size: int
    """Bytes, there and back."""


class Opening(msgspec.Struct, frozen=True):
    """What one who is to be measured tells at first."""

    refusal: str | None = None
    """Why the handler cannot run this way; None if it can."""
    profile: Profile | None = None
    freight: Freight | None = None
