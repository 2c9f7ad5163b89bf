"""Rare workloads that are hard for a law: long jobs, heavy tails of waiting, a full loop, thresholds of moves."""

from bench.autoscaler.workloads import Shape, Source, Workload, constant, stepped
from event_collector_workers.autoscaler import Tier


def rarities(cores: int) -> list[Workload]:
    """Return the eleven workloads for a machine with so many cores."""
    return [*_in_workers(cores), *_on_the_loop(cores), *_adaptive(cores)]


def _in_workers(cores: int) -> list[Workload]:
    long = Source("long", Tier.PROCESS, stepped(0.04 * cores, 0.3 * cores, 30.0, 80.0), constant(0.5), constant(4.0))
    very_long = Source(
        "very long",
        Tier.PROCESS,
        constant(0.01),
        constant(10.0),
        constant(0.1),
        bursts=((2.0, 2 * cores), (60.0, 2 * cores)),
    )
    trickle = Source("trickle", Tier.PROCESS, constant(0.3), constant(0.03), constant(0.0))
    tail = Source(
        "tail",
        Tier.PROCESS,
        stepped(2.0 * cores, 6.0 * cores, 20.0, 40.0),
        constant(0.03),
        constant(0.1),
        scatter="tail",
    )
    return [
        Workload("long jobs", cores, 120.0, (long,)),
        Workload("very long jobs", cores, 120.0, (very_long,)),
        Workload("trickle", cores, 120.0, (trickle,)),
        Workload("heavy tail of waiting in workers", cores, 60.0, (tail,)),
    ]


def _on_the_loop(cores: int) -> list[Workload]:
    crowded = Source("crowded", Tier.COROUTINE, stepped(150.0, 360.0, 10.0, 20.0), constant(0.003), constant(0.02))
    tail = Source("tail", Tier.COROUTINE, constant(300.0), constant(0.0002), constant(0.06), scatter="tail")
    kinds = Source(
        "kinds", Tier.COROUTINE, stepped(80.0, 400.0, 20.0, 35.0), constant(0.0003), constant(0.05), scatter="two kinds"
    )
    steps = Source("steps", Tier.COROUTINE, stepped(300.0, 1500.0, 10.0, 30.0), constant(0.0004), constant(0.0))
    growing = Source(
        "growing",
        Tier.COROUTINE,
        lambda now: 700.0 if 10.0 <= now < 20.0 else 1500.0 if 35.0 <= now < 50.0 else 300.0,
        constant(0.0001),
        constant(0.05),
        capacity=30.0,
        collapse=0.5,
        slowness=stepped(1.0, 0.25, 25.0),
    )
    return [
        Workload("more than the loop can carry", cores, 40.0, (crowded,)),
        Workload("heavy tail of waiting", cores, 60.0, (tail,)),
        Workload("two kinds of waiting", cores, 60.0, (kinds,)),
        Workload("steps without waiting", cores, 40.0, (steps,)),
        Workload("back end that is saturated, then faster", cores, 55.0, (growing,), changes=(25.0,)),
    ]


def _adaptive(cores: int) -> list[Workload]:
    """Several collectors that may move, and one that needs as much CPU as decides about a move."""
    several = (
        _adaptive_source("a", constant(40.0), stepped(0.0005, 0.008, 15.0), constant(0.004)),
        _adaptive_source("b", stepped(30.0, 150.0, 25.0), constant(0.003), constant(0.01)),
        _adaptive_source("c", constant(100.0), constant(0.0005), constant(0.03)),
        _adaptive_source("d", constant(20.0), stepped(0.012, 0.0004, 40.0), stepped(0.002, 0.08, 40.0)),
    )
    threshold = (
        _adaptive_source("threshold", stepped(100.0, 450.0, 10.0), constant(0.00195), constant(0.05)),
        _adaptive_source("other", constant(100.0), constant(0.0004), constant(0.03)),
    )
    return [
        Workload("several that may move", cores, 60.0, several),
        Workload("at the threshold of a move", cores, 60.0, threshold),
    ]


def _adaptive_source(key: str, rate: Shape, cpu: Shape, waiting: Shape) -> Source:
    return Source(key, Tier.COROUTINE, rate, cpu, waiting, adaptive=True)
