"""The input of a control law: counters, sizes and the resources of the machine, at one instant.

All totals only grow, so a missed call loses nothing. Times are in seconds, sizes in bytes. A value that could not be
read is None, NaN or negative: then the law keeps the last one and does not shrink a tier.
"""

from enum import StrEnum

import msgspec

from event_collector_workers.environment import DEFAULT_GROUP


class Tier(StrEnum):
    """The tier in which the events of a collector run."""

    COROUTINE = "coroutine"
    PROCESS = "process"


class CollectorReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The counters of one collector.

    Args:
        key: The collector's name.
        tier: The present tier of its events.
        adaptive: True if the law may move it to the other tier.
        group: The worker group in which it runs while its tier is PROCESS.
        arrivals: Events accepted for it so far.
        completions: Events finished so far.
        wall: Total seconds that the finished events spent in the handler.
        cpu: Total seconds of that on a CPU. In a worker: process time. On the loop: time of the handler's steps.
        delay: Total seconds of that ready to run but not running, because the loop or the CPU was busy. The remainder,
            wall - cpu - delay, is waiting. Without `delay`, contention looks like demand.
        queued: Queued events.
        running: Events in the handler.
    """

    key: str
    tier: Tier = Tier.COROUTINE
    adaptive: bool = False
    group: str = DEFAULT_GROUP
    arrivals: float | None = 0
    completions: float | None = 0
    wall: float | None = 0.0
    cpu: float | None = 0.0
    delay: float | None = 0.0
    queued: float | None = 0
    running: float | None = 0


class TierReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One tier: how many of its consumers or workers are ready, busy and starting."""

    size: int = 0
    busy: int = 0
    starting: int = 0


class WorkerGroupReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One group of workers, whose processes are its own.

    Args:
        name: The name of the group.
        size: Workers that are ready.
        startup: Mean seconds from the start of a worker to its readiness; None before the first.
        memory: Bytes that only one worker uses, of the largest one; None before the first.
        unrouted: Queued events that wait for one of its workers, without a known collector.
    """

    name: str = DEFAULT_GROUP
    size: int = 0
    startup: float | None = None
    memory: float | None = None
    unrouted: int = 0


class MachineReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The resources that the machine grants this program, and how much of them is in use.

    Args:
        cpus: Cores that this program may use: the smallest of affinity, quota and the user's declaration.
        others: Cores of these that other programs use.
        memory_limit: Bytes that this program and its workers may use together; None without a limit.
        memory_used: Bytes in use within that limit, by any program.
        memory_workers: Bytes of that in worker processes, read at the same moment.
        trusted: False if a probe failed and an older value is reported.
    """

    cpus: float | None = None
    others: float | None = 0.0
    memory_limit: float | None = None
    memory_used: float | None = None
    memory_workers: float | None = 0.0
    trusted: bool = True


class Readings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The complete input of a decision.

    Args:
        now: Seconds of a monotonic clock.
        collectors: One reading for each collector.
        consumers: The coroutine tier. A consumer that only waits for a worker's result is not part of it.
        workers: The process tier, all groups together.
        groups: One reading for each worker group; empty if there is one group, whose figures are those of the tier.
        machine: The resources of the machine.
        loop_busy: Total seconds that the event loop has been busy so far.
        worker_startup: Mean seconds from the start of a worker to its readiness; None before the first.
        worker_memory: Bytes that only one worker uses, of the largest one; None before the first.
        unrouted: Queued events without a known collector. They count for the collectors in proportion to their
            arrivals.
        unrouted_remote: Those of them that wait for a worker, of whatever group.
        draining: True if the queue is being shut down. Then nothing is scaled.
    """

    now: float
    collectors: tuple[CollectorReading, ...] = ()
    consumers: TierReading = TierReading()
    workers: TierReading = TierReading()
    groups: tuple[WorkerGroupReading, ...] = ()
    machine: MachineReading = MachineReading()
    loop_busy: float | None = 0.0
    worker_startup: float | None = None
    worker_memory: float | None = None
    unrouted: int = 0
    unrouted_remote: int = 0
    draining: bool = False

    def every_group(self) -> tuple[WorkerGroupReading, ...]:
        """Return the readings of all worker groups, also if there is only one."""
        one = WorkerGroupReading(size=self.workers.size, startup=self.worker_startup, memory=self.worker_memory)
        return self.groups or (one,)
