"""The division of cores and memory between worker groups: small demands are met, the others get equal parts."""

import math
from collections.abc import Mapping

import msgspec

from event_collector_workers.autoscaler.tier_sizing import Budget, kept_free


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What one group would use of the machine if it were alone."""

    workers: float  # that its load needs
    held: float  # workers that it has or is to have
    cpu_share: float  # share of a core that each uses
    worker_memory: float  # bytes of each


def divide(
    cores: float, memory_limit: float | None, memory_others: float, margin: float, demands: Mapping[str, Demand]
) -> dict[str, Budget]:
    """Return the budget of each group. One group alone has all.

    `memory_others` is in use outside of workers, and the share `margin` of the limit stays free, as
    `Budget.workers_in_memory()` has it. A group gets no memory before the others have given it back.
    """
    by_cores = fair_shares(cores, {name: one.workers * one.cpu_share for name, one in demands.items()})
    held = {name: one.held * one.worker_memory for name, one in demands.items()}
    others = dict.fromkeys(demands, memory_others)
    if memory_limit is not None:
        wanted = {name: max(one.workers, one.held) * one.worker_memory for name, one in demands.items()}
        kept = {name: kept_free(memory_limit, one.worker_memory, margin) for name, one in demands.items()}
        by_memory = fair_shares(max(0.0, memory_limit - memory_others - max(kept.values())), wanted)
        for name, share in by_memory.items():
            elsewhere = memory_others + sum(held.values()) - held[name]
            others[name] = max(elsewhere, memory_limit - share - kept[name])
    return {
        name: Budget(by_cores[name], memory_limit, others[name], one.worker_memory) for name, one in demands.items()
    }


def fair_shares(total: float, demands: Mapping[str, float]) -> dict[str, float]:
    """Return the max-min fair share of each, and the rest for everybody who might need more than it asks for."""
    shares: dict[str, float] = {}
    rest = total
    for place, name in enumerate(sorted(demands, key=lambda name: demands[name])):
        shares[name] = min(demands[name], rest / (len(demands) - place))
        rest -= shares[name]
    spare = max(0.0, total - math.fsum(shares.values()))
    return {name: share + spare for name, share in shares.items()}
