"""The control law of both tiers: the number of consumers and of workers, and the tier of each collector.

    law = Autoscaler(ScalingLimits(max_workers=8))
    plan = law.decide(Readings(now=loop.time(), collectors=(...), ...))

`decide` does no input or output. Its result depends on the readings of this call and of earlier calls only.
"""

from event_collector_workers.autoscaler.demand import burst_size
from event_collector_workers.autoscaler.law import Autoscaler
from event_collector_workers.autoscaler.plan import (
    Change,
    FixedSize,
    Plan,
    ScalingLaw,
    ScalingLimits,
    WorkerGroupLimits,
)
from event_collector_workers.autoscaler.readings import (
    CollectorReading,
    MachineReading,
    Readings,
    Tier,
    TierReading,
    WorkerGroupReading,
)
from event_collector_workers.autoscaler.tuning import Tuning

Limits = ScalingLimits
"""The former name of ScalingLimits, for programs that use it."""

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
    "WorkerGroupLimits",
    "WorkerGroupReading",
    "burst_size",
]
