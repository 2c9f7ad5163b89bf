"""The plan of a law, the limits of a plan, and the protocol for other laws."""

import subprocess
import sys

import pytest

from event_collector_workers import autoscaler
from event_collector_workers.autoscaler import (
    Change,
    CollectorReading,
    FixedSize,
    Readings,
    ScalingLaw,
    ScalingLimits,
    Tier,
)


def test_own_laws_fit_the_protocol() -> None:
    """A fixed size is a law too: it changes nothing, never asks again, and leaves every collector alone."""
    law: ScalingLaw = FixedSize(consumers=5, workers=2)
    reading = CollectorReading(key="work", tier=Tier.PROCESS, adaptive=True, queued=500)
    plan = law.decide(Readings(now=1.0, collectors=(reading,)))
    assert (plan.consumers, plan.workers, plan.consumer_ceiling, plan.next_check) == (5, 2, 5, None)
    assert plan.placement == {"work": Tier.PROCESS}
    assert repr(law) == "FixedSize(consumers=5, workers=2)"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"min_consumers": 5, "max_consumers": 4}, "min_consumers"),
        ({"min_workers": -1}, "min_workers"),
        ({"margin": float("nan")}, "margin"),
        ({"patience": 0.0}, "patience"),
    ],
)
def test_impossible_limits_are_refused(fields: dict[str, float], named: str) -> None:
    """A limit that makes no sense is refused by its name."""
    with pytest.raises(ValueError, match=named):
        ScalingLimits(**fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0"):
        FixedSize(-1)


def test_the_former_name_of_the_limits_still_works() -> None:
    """Programs that were written before the limits had a name of their own import `Limits`."""
    assert autoscaler.Limits is ScalingLimits


def test_a_change_reads_as_a_sentence() -> None:
    """A change says what, from what, to what, and why: ready for a log line."""
    assert str(Change("workers", 1, 3, "more to do")) == "workers 1 -> 3: more to do"


def test_the_law_needs_no_event_loop_and_no_probe() -> None:
    """Importing the law loads neither asyncio nor psutil: a worker process may import it for nothing."""
    code = (
        "import sys, event_collector_workers.autoscaler;"
        "print([name for name in ('asyncio', 'psutil', 'multiprocessing') if name in sys.modules])"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
