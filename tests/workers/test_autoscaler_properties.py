"""What must hold for the control law whatever it is told."""

import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector_workers.autoscaler import (
    Autoscaler,
    CollectorReading,
    MachineReading,
    Plan,
    Readings,
    ScalingLimits,
    Tier,
    TierReading,
)

GIB = 1 << 30
broken = st.sampled_from([None, math.nan, -1.0, math.inf])
amounts = st.integers(0, 5000) | broken
seconds = st.floats(0.0, 1000.0) | broken


@st.composite
def limits(draw: st.DrawFn) -> ScalingLimits:
    low, spread = draw(st.integers(0, 20)), draw(st.integers(0, 500))
    least, more = draw(st.integers(0, 5)), draw(st.integers(0, 70))
    return ScalingLimits(
        min_consumers=low,
        max_consumers=low + spread,
        min_workers=least,
        max_workers=least + more,
        margin=draw(st.floats(0.0, 2.0)),
        patience=draw(st.floats(0.01, 2.0)),
    )


def collectors(key: str) -> st.SearchStrategy[CollectorReading]:
    return st.builds(
        CollectorReading,
        key=st.just(key),
        tier=st.sampled_from(Tier),
        adaptive=st.booleans(),
        arrivals=amounts,
        completions=amounts,
        wall=seconds,
        cpu=seconds,
        delay=seconds,
        queued=amounts,
        running=amounts,
    )


machines = st.builds(
    MachineReading,
    cpus=st.floats(0.1, 64.0) | broken,
    others=st.floats(0.0, 64.0) | broken,
    memory_limit=st.integers(1, 64 * GIB) | broken,
    memory_used=st.integers(0, 64 * GIB) | broken,
    trusted=st.booleans(),
)
tiers = st.builds(TierReading, size=st.integers(0, 100), busy=st.integers(0, 100), starting=st.integers(0, 20))
readings = st.builds(
    Readings,
    now=st.floats(-100.0, 1e6) | st.just(math.nan),
    collectors=st.tuples(collectors("a"), collectors("b")),
    consumers=tiers,
    workers=tiers,
    machine=machines,
    loop_busy=seconds,
    worker_startup=st.floats(0.0, 60.0) | broken,
    worker_memory=st.integers(0, 4 * GIB) | broken,
    unrouted=st.integers(0, 1000),
    draining=st.booleans(),
)


@given(limits=limits(), story=st.lists(readings, max_size=20))
@settings(deadline=None)
def test_bounds_hold_and_every_change_has_its_reason(limits: ScalingLimits, story: Sequence[Readings]) -> None:
    """Whatever is read: sizes stay within the bounds, and differ from the plan before as the changes say."""
    law = Autoscaler(limits)
    consumers, workers = limits.min_consumers, limits.min_workers
    for one in story:
        plan = law.decide(one)
        assert limits.min_consumers <= plan.consumers <= limits.max_consumers
        assert limits.min_workers <= plan.workers <= limits.max_workers
        assert limits.min_consumers <= plan.consumer_ceiling <= limits.max_consumers
        said = {change.subject: change for change in plan.changes}
        assert len(said) == len(plan.changes)
        for subject, before, after in (("consumers", consumers, plan.consumers), ("workers", workers, plan.workers)):
            assert (subject in said) == (before != after)
            if subject in said:
                assert (said[subject].before, said[subject].after) == (before, after)
        assert all(change.reason and change.before != change.after for change in plan.changes)
        assert not (one.draining and plan.changes)
        consumers, workers = plan.consumers, plan.workers


@given(story=st.lists(readings, max_size=20))
@settings(deadline=None, max_examples=15)
def test_only_adaptive_collectors_are_placed(story: Sequence[Readings]) -> None:
    """The placement names exactly the collectors that may move, and never a process where there are none."""
    law = Autoscaler(ScalingLimits(max_workers=0))
    for one in story:
        plan = law.decide(one)
        assert plan.placement.keys() == {collector.key for collector in one.collectors if collector.adaptive}
        assert all(change.after is not Tier.PROCESS for change in plan.changes)


@given(story=st.lists(readings, max_size=20), shift=st.integers(-10, 10).map(lambda days: days * 86400.0))
@settings(deadline=None)
def test_it_does_not_matter_where_the_clock_starts(story: Sequence[Readings], shift: float) -> None:
    """The same story on a shifted clock gives the same plans."""
    # whole eighths of a second stay exact when they are shifted
    story = [msgspec.structs.replace(one, now=round((one.now if one.now == one.now else 0.0) * 8) / 8) for one in story]
    here, there = Autoscaler(), Autoscaler()
    for one in story:
        plan = here.decide(one)
        other = there.decide(msgspec.structs.replace(one, now=one.now + shift))
        if plan.next_check is not None:
            assert other.next_check == pytest.approx(plan.next_check + shift)
        assert msgspec.structs.replace(other, next_check=None) == msgspec.structs.replace(plan, next_check=None)


@given(
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40),
    backlog=st.integers(0, 3000),
    more=st.integers(0, 3000),
    tier=st.sampled_from(Tier),
)
@settings(deadline=None)
def test_more_backlog_never_means_less(steps: list[tuple[int, int]], backlog: int, more: int, tier: Tier) -> None:
    """After the same history, a longer queue never leads to fewer consumers, workers, or a lower ceiling."""
    plans: list[Plan] = []
    for queued in (backlog, backlog + more):
        law, arrivals, completions, now = Autoscaler(), 0, 0, 0.0
        for arrived, completed in [*steps, (0, 0)]:
            now += 0.05
            arrivals += arrived
            completions += completed
            reading = CollectorReading(
                key="a",
                tier=tier,
                arrivals=arrivals,
                completions=completions,
                wall=completions * 0.02,
                cpu=completions * 0.01,
                queued=queued if now > 0.05 * len(steps) + 0.01 else 0,
                running=3,
            )
            machine = MachineReading(cpus=16.0)
            plan = law.decide(Readings(now=now, collectors=(reading,), machine=machine))
        plans.append(plan)
    assert plans[0].consumers <= plans[1].consumers
    assert plans[0].workers <= plans[1].workers
    assert plans[0].consumer_ceiling <= plans[1].consumer_ceiling


@given(
    limit=st.integers(1, 16),
    others=st.floats(0.0, 0.9),
    worker=st.floats(0.05, 2.0),
    backlog=st.integers(0, 10_000),
    ready=st.integers(0, 100),
)
@settings(deadline=None)
def test_memory_is_never_exceeded(limit: int, others: float, worker: float, backlog: int, ready: int) -> None:
    """However long the queue, the workers that are planned fit into the memory, or there is only one."""
    law = Autoscaler(ScalingLimits(max_workers=100))
    reading = CollectorReading(key="a", tier=Tier.PROCESS, queued=backlog)
    plan = None
    for tick in range(10):
        size = min(ready, plan.workers) if plan else 0
        used = others * limit * GIB + size * worker * GIB
        plan = law.decide(
            Readings(
                now=tick * 0.05,
                collectors=(reading,),
                workers=TierReading(size=size, busy=size),
                machine=MachineReading(cpus=64.0, memory_limit=limit * GIB, memory_used=int(used)),
                worker_memory=int(worker * GIB),
            )
        )
        assert plan.workers <= 1 or (others * limit + plan.workers * worker) * GIB <= limit * GIB * 0.975 + 64


@given(
    queued=st.integers(0, 2000),
    service=st.floats(0.0001, 2.0),
    tier=st.sampled_from(Tier),
    patience=st.sampled_from([1 / 60, 0.5, 1.0]),
)
@settings(deadline=None)
def test_idle_means_minimum_and_silence(queued: int, service: float, tier: Tier, patience: float) -> None:
    """After any burst the sizes come down to their minimum in a bounded time; then no call is asked for."""
    law = Autoscaler(ScalingLimits(min_consumers=2, min_workers=1, patience=patience))
    now, calls = 0.0, 0
    machine = MachineReading(cpus=8.0)
    for tick in range(20):
        now = tick * 0.05
        busy = CollectorReading(key="a", tier=tier, arrivals=queued, queued=queued, running=2)
        law.decide(Readings(now=now, collectors=(busy,), machine=machine, worker_startup=0.1))
    done = CollectorReading(
        key="a", tier=tier, arrivals=queued, completions=queued, wall=queued * service, cpu=queued * service
    )
    end = now
    check: float | None = now + 0.05
    while check is not None:
        now, calls = check, calls + 1
        assert now - end <= 1.0 + 40.0 * max(patience, 0.1)
        plan = law.decide(Readings(now=now, collectors=(done,), machine=machine, worker_startup=0.1))
        check = plan.next_check
    assert (plan.consumers, plan.workers) == (2, 1)
    assert calls <= 30 + 60 * patience


@given(jumps=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), tier=st.sampled_from(Tier))
@settings(deadline=None, max_examples=15)
def test_a_clock_that_jumps_in_the_middle_of_work_takes_nothing_away(jumps: list[float], tier: Tier) -> None:
    """While events are in hand a jump of the clock, either way, shrinks nothing and starts no stampede."""
    law, now, arrivals = Autoscaler(), 0.0, 0
    machine = MachineReading(cpus=16.0)

    def step(seconds: float) -> Plan:
        nonlocal now, arrivals
        now, arrivals = now + seconds, arrivals + 10
        one = CollectorReading(
            key="a",
            tier=tier,
            arrivals=arrivals,
            completions=arrivals,
            wall=arrivals * 0.03,
            cpu=arrivals * 0.01,
            running=6,
        )
        return law.decide(Readings(now=now, collectors=(one,), consumers=TierReading(busy=6), machine=machine))

    for _ in range(200):
        steady = step(0.05)
    for jump in jumps:
        plan = step(jump)
        assert steady.workers <= plan.workers <= 2 * steady.workers
        assert steady.consumers <= plan.consumers <= 2 * steady.consumers
        for _ in range(10):
            step(0.05)
