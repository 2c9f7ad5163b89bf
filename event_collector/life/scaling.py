"""The built-in control law of a queue, made from its settings."""

import math
from typing import Final

from event_collector.life.settings import Settings
from event_collector_workers.autoscaler import Autoscaler, FixedSize, ScalingLaw, ScalingLimits
from event_collector_workers.machine import granted_cpus

PATIENCE: Final = 60.0
"""The `avg_load_interval`, in seconds, for which the law has its normal patience."""


def most_workers(settings: Settings) -> int:
    """Return the maximum number of worker processes: `max_workers`, or one per granted CPU."""
    return settings.max_workers or max(1, settings.min_workers, math.ceil(granted_cpus()))


def make_law(settings: Settings, *, process_tier: bool, adaptive: bool) -> ScalingLaw:
    """Return the built-in law. `adaptive`: whether it decides where collectors run."""
    workers = most_workers(settings) if process_tier else 0
    fixed = not settings.autoscale
    if fixed and not adaptive:
        return FixedSize(settings.max_consumers, workers)
    # With fixed sizes, the law still decides where adaptive collectors run.
    return Autoscaler(
        ScalingLimits(
            min_consumers=settings.max_consumers if fixed else settings.min_consumers,
            max_consumers=settings.max_consumers,
            min_workers=workers if fixed else min(settings.min_workers, workers),
            max_workers=workers,
            margin=settings.wip_margin,
            patience=min(1000.0, settings.avg_load_interval / PATIENCE),
        )
    )
