"""What the control law is told: counters, sizes and what the machine grants, at one instant.

All totals only ever grow, so a call that was missed loses nothing. Seconds and bytes throughout. A value that
could not be read is None (or NaN, or negative): the law then keeps the last one and does not shrink anything
on its account.
"""

from enum import StrEnum

import msgspec


class Tier(StrEnum):
    """Where the events of a collector run."""

    COROUTINE = "coroutine"
    PROCESS = "process"


class CollectorReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One collector: what came, what ended, what it took.

    Args:
        key: the collector's name.
        tier: where its events run now.
        adaptive: whether the law may move it to the other tier.
        arrivals: events accepted for it so far.
        completions: events finished so far.
        wall: seconds the finished events spent in the handler, in total.
        cpu: seconds of that on a CPU, in total. In a worker: process time. On the loop: time of the handler's
            steps.
        delay: seconds of that ready to run but not running (a busy loop, a busy CPU), in total.
            What is left, wall - cpu - delay, is waiting. Without it contention looks like demand.
        queued: events waiting now.
        running: events in the handler now.

    """

    key: str
    tier: Tier = Tier.COROUTINE
    adaptive: bool = False
    arrivals: float | None = 0
    completions: float | None = 0
    wall: float | None = 0.0
    cpu: float | None = 0.0
    delay: float | None = 0.0
    queued: float | None = 0
    running: float | None = 0


class TierReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One tier: how many of its consumers or workers are ready, busy, and being started."""

    size: int = 0
    busy: int = 0
    starting: int = 0


class MachineReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the machine grants this program, and what is left of it.

    Args:
        cpus: cores this program may use: the smallest of affinity, quota and what the user declared.
        others: cores out of these that other programs take.
        memory_limit: bytes this program and its workers may use together; None when nothing limits them.
        memory_used: bytes in use within that limit, by anybody.
        trusted: False when a probe failed and an older value stands in.

    """

    cpus: float | None = None
    others: float | None = 0.0
    memory_limit: float | None = None
    memory_used: float | None = None
    trusted: bool = True


class Readings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything the law may know when it decides.

    Args:
        now: seconds on a monotonic clock.
        collectors: one reading for each collector.
        consumers: the coroutine tier. A consumer that only waits for a worker's result is not part of it.
        workers: the process tier.
        machine: what the machine grants.
        loop_busy: seconds the event loop has been busy so far, in total.
        worker_startup: seconds from the start of a worker to its readiness, averaged; None before the first.
        worker_memory: bytes a worker holds for itself, of the largest one; None before the first.
        unrouted: events waiting whose collector is not known yet; they count for the collectors in proportion
            to their arrivals.
        draining: the queue is being shut down: nothing is scaled any more.

    """

    now: float
    collectors: tuple[CollectorReading, ...] = ()
    consumers: TierReading = TierReading()
    workers: TierReading = TierReading()
    machine: MachineReading = MachineReading()
    loop_busy: float | None = 0.0
    worker_startup: float | None = None
    worker_memory: float | None = None
    unrouted: int = 0
    draining: bool = False
