"""Formulas for the number of consumers that a load needs and that a machine can keep busy.

Sources: Little's law (1961) for the mean number of busy consumers, square-root staffing (Halfin and Whitt, 1981) for
the spare ones.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.readings import Tier


class TierLoad(msgspec.Struct, frozen=True, gc=False):
    """The load of one tier."""

    collectors: int
    rate: float  # arrivals per second
    mean: float  # mean number of busy consumers: the sum of rate times service time over the collectors
    backlog: float  # seconds of service that queued events need
    queued: float  # events
    running: float  # events
    completed: float  # events that have ended since the last decision
    service: float  # seconds per event
    cpu_share: float  # share of CPU time in the service time, 0.02 to 1

    def __str__(self) -> str:
        text = f"{self.rate:.3g} events/s of {self.service * 1e3:.3g} ms ({self.cpu_share:.0%} CPU)"
        return f"{text}, {self.queued:.0f} waiting" if self.queued else text


def tier_load(
    estimates: Iterable[CollectorEstimate], tier: Tier, unrouted: Mapping[str, float], group: str | None = None
) -> TierLoad:
    """Return the load of the collectors in a tier, or in one worker group of it.

    `unrouted` holds the additional queued events of each.
    """
    collectors = 0
    rates = mean = backlog = queued = running = completed = on_cpu = 0.0
    for estimate in estimates:
        if estimate.tier is not tier or group not in (None, estimate.group):
            continue
        collectors += 1
        cpu, waiting = estimate.split()
        rate = estimate.rate.value
        behind = estimate.queued + unrouted.get(estimate.key, 0.0)
        rates += rate
        mean += rate * (cpu + waiting)
        backlog += behind * (cpu + waiting)
        queued += behind
        running += estimate.running
        completed += estimate.completed
        on_cpu += rate * cpu
    service = mean / rates if rates else 0.0
    share = min(1.0, max(0.02, on_cpu / mean)) if mean else 1.0
    return TierLoad(collectors, rates, mean, backlog, queued, running, completed, service, share)


def staffing(load: TierLoad, busy: float, spare: float, horizon: float) -> float:
    """Return the consumers for a load. Busy ones cannot help with the backlog, to be cleared in `horizon` seconds."""
    return max(busy, load.mean + spare) + min(load.queued, load.backlog / horizon)


def cpu_cap(cores: float, cpu_share: float) -> float:
    """Return how many consumers keep `cores` busy if each uses a CPU for `cpu_share` of its time.

    The number of consumers on a CPU has the standard deviation sqrt(cores x (1 - share)). One deviation is added, so
    that the cores stay busy while fewer consumers than the mean use one.
    """
    return (cores + math.sqrt(cores * (1.0 - cpu_share))) / cpu_share


def ladder(size: float, ratio: float) -> int:
    """Round up to a geometric grid of sizes, so that there are few changes."""
    rung = 0
    while rung < size:
        rung = max(rung + 1, int(rung * ratio))
    return rung


def burst_size(needed: int, ceiling: int, ratio: float = 1.25) -> int:
    """Return the size to grow to at once for `needed` consumers (busy ones and queued events), up to `ceiling`."""
    return min(ceiling, ladder(min(needed, ceiling), ratio))
