"""The control law of both tiers: how many consumers, how many workers, and which events run where.

    law = Autoscaler(ScalingLimits(max_workers=8))
    plan = law.decide(Readings(now=loop.time(), collectors=(...), ...))

`decide` is pure: it knows only the readings it has been given, and keeps what it made of them.
"""

from event_collector_workers.autoscaler.demand import burst_size
from event_collector_workers.autoscaler.law import Autoscaler
from event_collector_workers.autoscaler.plan import Change, FixedSize, Plan, ScalingLaw, ScalingLimits
from event_collector_workers.autoscaler.readings import (
    CollectorReading,
    MachineReading,
    Readings,
    Tier,
    TierReading,
)
from event_collector_workers.autoscaler.tuning import Tuning

__all__ = [
    "Autoscaler",
    "Change",
    "CollectorReading",
    "FixedSize",
    "MachineReading",
    "Plan",
    "Readings",
    "ScalingLaw",
    "ScalingLimits",
    "Tier",
    "TierReading",
    "Tuning",
    "burst_size",
]
