"""How many consumers a load needs, and how many its machine can feed: formulas without state.

Sources: Little's law (1961) for the mean number of busy consumers; square-root staffing (Halfin and Whitt,
    1981) for the spare ones.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.readings import Tier


class TierLoad(msgspec.Struct, frozen=True, gc=False):
    """What one tier has to do.

    Args:
        collectors: how many collectors run there.
        rate: events that arrive per second.
        mean: busy consumers on average: rate times service time, over all collectors.
        backlog: seconds of service that wait.
        queued: events that wait.
        running: events in handlers.
        completed: events that have ended since the last decision.
        service: seconds of service per event.
        cpu_share: share of them that is CPU, 0.02 to 1.
        recent_cpu_share: the same for the last few events.

    """

    collectors: int
    rate: float
    mean: float
    backlog: float
    queued: float
    running: float
    completed: float
    service: float
    cpu_share: float
    recent_cpu_share: float

    def __str__(self) -> str:
        text = f"{self.rate:.3g} events/s of {self.service * 1e3:.3g} ms ({self.cpu_share:.0%} CPU)"
        return f"{text}, {self.queued:.0f} waiting" if self.queued else text


def tier_load(estimates: Iterable[CollectorEstimate], tier: Tier, unrouted: Mapping[str, float]) -> TierLoad:
    """Add up the load of the collectors in a tier; `unrouted` says how many more events wait for each."""
    collectors = 0
    rates = mean = backlog = queued = running = completed = weights = busy = on_cpu = 0.0
    recent_busy = recent_on_cpu = 0.0
    for estimate in estimates:
        if estimate.tier is not tier:
            continue
        collectors += 1
        cpu, waiting = estimate.split()
        rate = estimate.rate.value
        behind = estimate.queued + unrouted.get(estimate.key, 0.0)
        # Events in hand without arrivals still say what kind of work there is: they weigh as one arrival.
        weight = rate + (1.0 if behind or estimate.running else 0.0)
        rates += rate
        mean += rate * (cpu + waiting)
        backlog += behind * (cpu + waiting)
        queued += behind
        running += estimate.running
        completed += estimate.completed
        weights += weight
        busy += weight * (cpu + waiting)
        on_cpu += weight * cpu
        cpu, waiting = estimate.recent_split()
        recent_busy += weight * (cpu + waiting)
        recent_on_cpu += weight * cpu
    service = busy / weights if weights else 0.0
    shares = _share(on_cpu, busy), _share(recent_on_cpu, recent_busy)
    return TierLoad(collectors, rates, mean, backlog, queued, running, completed, service, *shares)


def _share(cpu: float, busy: float) -> float:
    return min(1.0, max(0.02, cpu / busy)) if busy else 1.0


def staffing(load: TierLoad, busy: float, spare: float, horizon: float) -> float:
    """Return the consumers for a load.

    Args:
        load: what is to be done.
        busy: consumers that are taken now and cannot help with what waits.
        spare: consumers beyond the mean.
        horizon: seconds in which the backlog is to be cleared.

    """
    return max(busy, load.mean + spare) + min(load.queued, load.backlog / horizon)


def cpu_cap(cores: float, cpu_share: float) -> float:
    """Return how many consumers keep `cores` busy when each is on a CPU for `cpu_share` of its time.

    The number of them on a CPU at an instant scatters by sqrt(cores x (1 - share)); one such deviation is
    added, so that the cores stay busy when fewer than the average want them.
    """
    return (cores + math.sqrt(cores * (1.0 - cpu_share))) / cpu_share


def ladder(size: float, ratio: float) -> int:
    """Round up to the geometric grid of sizes: few distinct sizes make few changes."""
    rung = 0
    while rung < size:
        rung = max(rung + 1, int(rung * ratio))
    return rung


def burst_size(needed: int, ceiling: int, ratio: float = 1.25) -> int:
    """Return the size to grow to at once when `needed` consumers are wanted between two decisions.

    Args:
        needed: busy consumers plus waiting events.
        ceiling: `Plan.consumer_ceiling`.
        ratio: of neighbouring sizes.

    """
    return min(ceiling, ladder(min(needed, ceiling), ratio))
