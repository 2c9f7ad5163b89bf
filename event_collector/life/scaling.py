"""The built-in control law of a queue, made from its settings."""

import math
from collections.abc import Collection
from threading import get_native_id
from typing import Final

from event_collector.life.settings import Settings
from event_collector_workers.autoscaler import Autoscaler, FixedSize, ScalingLaw, ScalingLimits, WorkerGroupLimits
from event_collector_workers.machine import granted_cpus, run_delay

PATIENCE: Final = 60.0
"""The `avg_load_interval`, in seconds, for which the law has its normal patience."""


MOST_WORKERS: Final = 256
"""Workers up to which the law is free, on a machine with few CPUs. Each takes about three descriptors, of 1,024 that
many systems grant a process."""

WORKERS_PER_CPU: Final = 4
"""The same for each CPU of a large machine."""


def most_workers(settings: Settings) -> int:
    """Return the maximum number of worker processes: `max_workers`, or what leaves the number to the law.

    The law knows how many keep the CPUs busy, unless the system does not tell how long workers wait for a CPU: then
    waiting for a CPU would look like any other waiting, and there is at most one worker for each granted CPU.
    """
    if settings.max_workers is not None:
        return settings.max_workers
    granted = math.ceil(granted_cpus())
    is_free = settings.autoscale and run_delay(get_native_id()) is not None
    return max(1, settings.min_workers, max(MOST_WORKERS, WORKERS_PER_CPU * granted) if is_free else granted)


def make_law(settings: Settings, groups: Collection[str], *, adaptive: bool) -> ScalingLaw:
    """Return the built-in law for these worker groups. `adaptive`: whether it decides where collectors run."""
    fixed = not settings.autoscale
    bounds = {name: _bounds(settings.of_group(name), fixed=fixed) for name in groups}
    if fixed and not adaptive:
        sizes = {name: one.max_workers for name, one in bounds.items()}
        return FixedSize(settings.max_consumers, sum(sizes.values()), sizes)
    # With fixed sizes, the law still decides where adaptive collectors run.
    return Autoscaler(
        ScalingLimits(
            min_consumers=settings.max_consumers if fixed else settings.min_consumers,
            max_consumers=settings.max_consumers,
            min_workers=0,
            max_workers=0,
            groups=bounds,
            margin=settings.wip_margin,
            polite=settings.polite,
            patience=min(1000.0, settings.avg_load_interval / PATIENCE),
        )
    )


def _bounds(settings: Settings, *, fixed: bool) -> WorkerGroupLimits:
    most = most_workers(settings)
    return WorkerGroupLimits(most if fixed else min(settings.min_workers, most), most)
