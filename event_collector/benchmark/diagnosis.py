"""The bottleneck of a contender."""

from enum import Enum

from event_collector.benchmark.trial_figures import HandlerProfile, Measured

SATURATED = 0.75  # the share of time from which a process counts as always busy; the rest are gaps between rounds
WAITS = 0.5  # the share of a handler's time from which it counts as waiting
BYTES_PER_SECOND = 2e9  # assumed speed of copying through a socket: the order of magnitude of memory, caches cold


class Bound(Enum):
    """The resource that limits the throughput."""

    CPU = "CPU"  # the computing of the handler
    IO = "IO"  # the waiting of the handler
    LOOP = "the loop"  # the dispatching of events and results, in one thread of the program
    SERIALIZATION = "serialization"  # the transfer of values to worker processes and back


def computes(profile: HandlerProfile | None) -> bool | None:
    """Return whether the handler spends most of its time on a CPU; None if unknown."""
    return None if profile is None or profile.wall <= 0 else profile.cpu > WAITS * profile.wall


def bound_of(measured: Measured, profile: HandlerProfile | None) -> Bound:
    """Return the bottleneck of a contender in its rounds, at least one; `profile` is of its handler by itself."""
    workers = measured.contender.workers
    own, crew = measured.busy("own"), measured.busy("worker") / max(1, workers)
    total = measured.per_event("own_cpu", "worker_cpu")
    handler = profile.cpu if profile is not None else measured.per_event("worker_cpu" if workers else "own_cpu")
    is_idle = max(own, crew) < SATURATED and computes(profile) is not True
    if is_idle and (profile is None or profile.wall - profile.cpu > max(total - handler, 0.25 * profile.wall)):
        return Bound.IO
    if handler >= 0.5 * total:
        return Bound.CPU
    carried = 0.0
    if workers and measured.transfer is not None:
        carried = measured.transfer.seconds + 2 * measured.transfer.size / BYTES_PER_SECOND
    return Bound.SERIALIZATION if carried >= 0.5 * (total - handler) else Bound.LOOP
