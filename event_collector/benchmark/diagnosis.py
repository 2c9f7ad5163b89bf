"""The diagnosis: what keeps a contender from going faster."""

from enum import Enum

from event_collector.benchmark.figures import Profile
from event_collector.benchmark.measured import Measured

__all__ = ["Bound", "bound_of", "computes"]

SATURATED = 0.75
"""The share of its time from which on a process counts as busy all the time; the rest are gaps between rounds."""
WAITS = 0.5
"""The share of a handler's time from which on it is one that waits."""
BYTES_PER_SECOND = 2e9
"""What copying a value through a socket is taken to cost; the order of magnitude of memory with cold caches."""


class Bound(Enum):
    """What the throughput hangs on."""

    CPU = "CPU"
    """The handler's own computing."""
    IO = "IO"
    """What the handler waits for."""
    LOOP = "the loop"
    """Handing out events and results, which one thread of the program does."""
    SERIALIZATION = "serialization"
    """Carrying values to worker processes and back."""


def computes(profile: Profile | None) -> bool | None:
    """Return whether the handler spends its time on a CPU; None when nobody knows."""
    return None if profile is None or profile.wall <= 0 else profile.cpu > WAITS * profile.wall


def bound_of(measured: Measured, profile: Profile | None) -> Bound:
    """Return what bound a contender in its rounds.

    Args:
        measured: it, with at least one round.
        profile: the handler by itself, if anybody knows.

    """
    workers = measured.contender.workers
    own, crew = measured.busy("own"), measured.busy("worker") / max(1, workers)
    total = measured.per_event("own_cpu", "worker_cpu")
    handler = (
        profile.cpu if profile is not None else measured.per_event("worker_cpu" if workers else "own_cpu")
    )
    if max(own, crew) < SATURATED and computes(profile) is not True:
        waits = profile is None or profile.wall - profile.cpu > max(total - handler, 0.25 * profile.wall)
        if waits:
            return Bound.IO
    if handler >= 0.5 * total:
        return Bound.CPU
    carried = 0.0
    if workers and measured.freight is not None:
        carried = measured.freight.seconds + 2 * measured.freight.size / BYTES_PER_SECOND
    return Bound.SERIALIZATION if carried >= 0.5 * (total - handler) else Bound.LOOP
