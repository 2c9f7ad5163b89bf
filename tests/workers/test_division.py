"""The division of a machine between worker groups: by cores and by memory, and what the law makes of it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_collector_workers.autoscaler import (
    Autoscaler,
    CollectorReading,
    MachineReading,
    Readings,
    ScalingLimits,
    Tier,
    TierReading,
    WorkerGroupLimits,
    WorkerGroupReading,
)
from event_collector_workers.autoscaler.division import Demand, divide, fair_shares

AMOUNT = st.floats(0.0, 1e6)
MIB = float(1 << 20)


@given(AMOUNT, st.dictionaries(st.sampled_from("abcd"), AMOUNT, min_size=1))
def test_nobody_gets_less_than_an_equal_part_or_what_it_asks_for(total: float, demands: dict[str, float]) -> None:
    """No more is given away than there is, and all of it if it is wanted."""
    shares = fair_shares(total, demands)
    equal = total / len(demands)
    assert all(shares[name] >= min(demand, equal) * (1 - 1e-9) for name, demand in demands.items())
    used = math.fsum(min(shares[name], demand) for name, demand in demands.items())
    assert used == pytest.approx(min(total, math.fsum(demands.values())))


def test_a_group_alone_has_the_whole_machine() -> None:
    """Whatever it asks for."""
    budget = divide(8.0, 1000.0, 300.0, 0.05, {"only": Demand(0.0, 0.0, 1.0, 10.0)})["only"]
    assert (budget.cores, budget.memory_limit, budget.memory_others) == (8.0, 1000.0, 300.0)


def test_memory_goes_to_a_group_when_the_others_have_given_it_back() -> None:
    """The one that has all of it has to let workers go, and the other one does not start any before that."""
    full, new = Demand(8.0, 8.0, 1.0, 100.0), Demand(8.0, 0.0, 1.0, 100.0)
    budgets = divide(16.0, 1000.0, 200.0, 0.0, {"full": full, "new": new})
    assert budgets["full"].workers_in_memory(0.0) < 8
    assert budgets["new"].workers_in_memory(0.0) == 0
    half = Demand(8.0, 4.0, 1.0, 100.0)
    budgets = divide(16.0, 1000.0, 200.0, 0.0, {"full": half, "new": new})
    assert budgets["new"].workers_in_memory(0.0) == 3  # half a worker stays free


class Machine:
    """A law for several groups, and a flood of events for some of them."""

    def __init__(self, memory_limit: float | None = None, **bounds: tuple[int, int]) -> None:
        groups = {name: WorkerGroupLimits(*each) for name, each in bounds.items()}
        self.law = Autoscaler(ScalingLimits(max_workers=0, groups=groups))
        self.limit, self.now = memory_limit, 0.0
        self.sizes = dict.fromkeys(bounds, 0)
        self.ended = dict.fromkeys(bounds, 0.0)

    def pass_time(self, seconds: float, *busy: str, memory: float = 10 * MIB) -> dict[str, int]:
        """Let each busy group have more events than its workers can run, of 10 ms of CPU time."""
        for _ in range(int(seconds / 0.05)):
            self.now += 0.05
            for name in busy:
                self.ended[name] += 5.0 * self.sizes[name]
            plan = self.law.decide(self._readings(busy, memory))
            assert plan.workers == sum(plan.groups.values())
            self.sizes = dict(plan.groups)
        return self.sizes

    def _readings(self, busy: tuple[str, ...], memory: float) -> Readings:
        used = sum(self.sizes.values()) * memory
        return Readings(
            now=self.now,
            collectors=tuple(
                CollectorReading(
                    key=f"collector of {name}", tier=Tier.PROCESS, group=name, completions=ended,
                    arrivals=ended + (1000 if name in busy else 0), wall=0.01 * ended, cpu=0.01 * ended,
                    queued=1000 if name in busy else 0, running=self.sizes[name] if name in busy else 0,
                )
                for name, ended in self.ended.items()
            ),
            workers=TierReading(size=sum(self.sizes.values())),
            groups=tuple(WorkerGroupReading(name=name, size=size, memory=memory) for name, size in self.sizes.items()),
            machine=MachineReading(
                cpus=8.0, memory_limit=self.limit, memory_used=100 * MIB + used, memory_workers=used
            ),
        )  # fmt: skip


def test_a_group_that_is_alone_at_work_has_all_cores() -> None:
    """An idle one keeps what it must have."""
    assert Machine(a=(0, 256), b=(1, 256)).pass_time(3.0, "a") == {"a": 8, "b": 1}


def test_two_groups_at_work_share_the_cores() -> None:
    """The one that came first makes room."""
    machine = Machine(a=(0, 256), b=(0, 256))
    assert machine.pass_time(3.0, "a")["a"] == 8
    assert machine.pass_time(40.0, "a", "b") == {"a": 4, "b": 4}


def test_a_small_group_leaves_the_rest_to_the_other() -> None:
    """Its bound is no reason for the other one to have less."""
    assert Machine(small=(0, 1), large=(0, 256)).pass_time(10.0, "small", "large") == {"small": 1, "large": 7}


def test_two_groups_at_work_share_the_memory() -> None:
    """Each has as many workers as fit into its part, and at least one. The first one of an idle group stays a while."""
    machine = Machine(memory_limit=1000 * MIB, a=(0, 256), b=(0, 256))
    assert machine.pass_time(3.0, "a", memory=200 * MIB) == {"a": 3, "b": 1}
    assert machine.pass_time(20.0, "a", memory=200 * MIB) == {"a": 4, "b": 0}
    sizes = machine.pass_time(20.0, "a", "b", memory=200 * MIB)
    assert sizes == {"a": 2, "b": 2}


def test_changes_name_the_group() -> None:
    """A reader of the decisions must know which workers they are about."""
    machine = Machine(a=(0, 256), b=(0, 256))
    machine.sizes = {"a": 0, "b": 0}
    plan = machine.law.decide(machine._readings(("b",), MIB))
    changes = {change.subject: change for change in plan.changes if change.subject != "consumers"}
    assert changes.keys() == {"workers of a", "workers of b"}
    assert changes["workers of a"].reason == "the first worker opens the collectors"
    assert changes["workers of b"].before == 0
