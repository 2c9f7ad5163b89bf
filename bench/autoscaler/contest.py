"""All laws on all workloads: runs, ratios to the oracle, averages."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from bench.autoscaler.opponents import opponents
from bench.autoscaler.oracle import run_oracle
from bench.autoscaler.rarities import rarities
from bench.autoscaler.records import Outcome
from bench.autoscaler.simulation import Monitored
from bench.autoscaler.troubles import troubles
from bench.autoscaler.unseen import unseen
from bench.autoscaler.workloads import Workload, workloads
from event_collector_workers.autoscaler import Autoscaler, ScalingLaw, ScalingLimits

OURS = "this library"
ORACLE = "oracle"
FAMILIES: dict[str, Callable[[int], list[Workload]]] = {
    "known": workloads, "unseen": unseen, "troubles": troubles, "rarities": rarities,
}  # fmt: skip
"""The workloads that the law's constants were chosen with, those that they were not, those that failed once, and rare
ones, which show what some of its rules are for."""
SIZES = {"known": (2, 16, 64), "unseen": (4, 8, 32), "troubles": (2, 16, 64), "rarities": (4, 16)}


@dataclass(frozen=True)
class Score:
    """One law on one workload with one seed, against the oracle."""

    law: str
    workload: str
    cores: int
    seed: int
    throughput: float
    p50: float
    p99: float
    cost: float | None
    """Worker-seconds; None where no worker is of use. Consumers that have nothing to do cost nothing."""
    actions: int
    lost: int
    reached: float | None


@dataclass(frozen=True)
class Standing:
    """One law over all workloads of a size: the worst throughput, geometric means, totals for one seed."""

    law: str
    cores: int
    throughput: float
    p50: float
    p99: float
    cost: float
    actions: float
    lost: float
    reached: float
    reached_slow: float


BOUNDS: dict[str, dict[str, float]] = {
    "known": {
        "p50": 1.15, "p99": 1.25, "cost": 1.4, "actions": 600, "lost": 0, "reached": 1.5, "reached_slow": 6.0,
    },
    "unseen": {"p50": 1.15, "actions": 600, "lost": 0},
    "troubles": {"p50": 1.2, "p99": 1.25, "cost": 1.5, "actions": 300, "lost": 0},
    "rarities": {"p50": 1.2, "p99": 1.5, "actions": 300, "lost": 0},
}  # fmt: skip
"""What is promised for ours. Of unseen workloads, tail and price are shown, not promised."""

LEAST_THROUGHPUT = {2: 0.99, 16: 0.99, 64: 0.93}


def breaches(standing: Standing, family: str = "known") -> list[str]:
    """Return what a law does not keep of what is promised for ours."""
    who = f"{standing.law}, {standing.cores} cores"
    found = []
    least = LEAST_THROUGHPUT.get(standing.cores, 0.93)
    if standing.throughput < least:
        found.append(f"{who}: throughput is {standing.throughput:.3g}, below {least}")
    for name, bound in BOUNDS[family].items():
        value = getattr(standing, name)
        if value > bound:
            found.append(f"{who}: {name} is {value:.3g}, beyond {bound:.3g}")
    return found


def our_law(cores: int) -> ScalingLaw:
    return Autoscaler(ScalingLimits(max_workers=8 * cores, max_consumers=10_000))


def law_names() -> list[str]:
    return [OURS, *opponents(1)]


def run_law(name: str, workload: Workload, seed: int) -> Outcome:
    """Run one law through a workload; the oracle too."""
    if name == ORACLE:
        return run_oracle(workload, seed)
    law = our_law(workload.cores) if name == OURS else opponents(workload.cores)[name]()
    return Monitored(workload, law, seed).run()


def score(workload: Workload, seed: int, laws: Iterable[str]) -> Iterator[Score]:
    """Compare laws with the oracle on one workload."""
    best = run_law(ORACLE, workload, seed)
    for name in laws:
        outcome = run_law(name, workload, seed)
        yield Score(
            law=name,
            workload=workload.name,
            cores=workload.cores,
            seed=seed,
            throughput=outcome.completed / best.completed,
            p50=outcome.latency(0.5) / best.latency(0.5),
            p99=outcome.latency(0.99) / best.latency(0.99),
            cost=outcome.worker_seconds / best.worker_seconds if best.worker_seconds else None,
            actions=outcome.actions,
            lost=outcome.lost,
            reached=workload.duration if workload.step and outcome.reached is None else outcome.reached,
        )


def contest(cores: int, seeds: Iterable[int], laws: Iterable[str], jobs: int = 1, family: str = "known") -> list[Score]:
    """Run the laws on all workloads of a family and size, in `jobs` processes."""
    numbers = range(len(FAMILIES[family](cores)))
    tasks = [(family, cores, number, seed, tuple(laws)) for seed in seeds for number in numbers]
    if jobs <= 1:
        return [one for task in tasks for one in _score_task(task)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return [one for scores in pool.map(_score_task, tasks) for one in scores]


def _score_task(task: tuple[str, int, int, int, tuple[str, ...]]) -> list[Score]:
    family, cores, number, seed, laws = task
    return list(score(FAMILIES[family](cores)[number], seed, laws))


def standings(scores: list[Score]) -> list[Standing]:
    """Sum up the scores of each law and size."""
    groups: dict[tuple[int, str], list[Score]] = {}
    for one in scores:
        groups.setdefault((one.cores, one.law), []).append(one)
    return [_standing(group) for group in groups.values()]


def _standing(group: list[Score]) -> Standing:
    seeds = len({one.seed for one in group})
    steps = [one for one in group if one.reached is not None]
    slow = [one.reached or 0.0 for one in steps if one.workload == "slow start"]
    quick = [one.reached or 0.0 for one in steps if one.workload != "slow start"]
    return Standing(
        law=group[0].law,
        cores=group[0].cores,
        throughput=min(one.throughput for one in group),
        p50=_geometric(one.p50 for one in group),
        p99=_geometric(one.p99 for one in group),
        cost=_geometric(one.cost for one in group if one.cost is not None),
        actions=sum(one.actions for one in group) / seeds,
        lost=sum(one.lost for one in group) / seeds,
        reached=sum(quick) / max(1, len(quick)),
        reached_slow=sum(slow) / max(1, len(slow)),
    )


def _geometric(values: Iterable[float]) -> float:
    logs = [math.log(max(1e-9, value)) for value in values]
    return math.exp(sum(logs) / max(1, len(logs)))
