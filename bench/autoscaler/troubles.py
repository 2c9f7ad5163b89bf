"""Workloads in which what stands between a law and the pools matters: stale readings, prefetch, moves, cold starts."""

from bench.autoscaler.workloads import MIB, Source, Workload, burning, constant, stepped
from event_collector_workers.autoscaler import Tier

MANY = 1000


def troubles(cores: int) -> list[Workload]:
    """Return the workloads for a machine with so many cores."""
    return [*_back_ends(cores), *_memory(cores), *_cpus(cores), *_mixtures(cores)]


def _back_ends(cores: int) -> list[Workload]:
    saturated = Source(
        "call",
        Tier.COROUTINE,
        stepped(600.0, 1300.0, 10.0, 30.0),
        constant(0.0002),
        constant(0.05),
        capacity=50.0,
        collapse=0.3,
    )
    recovering = Source(
        "call",
        Tier.COROUTINE,
        constant(300.0),
        constant(0.0002),
        constant(0.05),
        capacity=100.0,
        collapse=0.3,
        slowness=stepped(1.0, 4.0, 15.0, 40.0),
    )
    return [
        Workload("back end at 130%", cores, 60.0, (saturated,)),
        Workload("back end slow for 25 s", cores, 60.0, (recovering,), changes=(15.0, 40.0)),
    ]


def _memory(cores: int) -> list[Workload]:
    """A limit between two numbers of workers; and workers that need most of their memory only in a job."""
    waiting = Source("half", Tier.PROCESS, constant(0.7 * (cores + 1) / 0.05), constant(0.02), constant(0.03))
    pulses = Source(
        "heavy",
        Tier.PROCESS,
        lambda now: (0.9 if now % 8.0 < 5.0 else 0.0) * cores / 0.1,
        constant(0.1),
        constant(0.02),
    )
    room = cores + 1.5
    return [
        Workload(
            "memory at an edge",
            cores,
            60.0,
            (waiting,),
            worker_memory=300 * MIB,
            base_memory=400 * MIB,
            memory_limit=(400 + room * 300) * MIB / 0.95,
        ),
        Workload(
            "memory for jobs only",
            cores,
            60.0,
            (pulses,),
            worker_memory=40 * MIB,
            job_memory=400 * MIB,
            base_memory=300 * MIB,
            memory_limit=(300 + (cores + 0.6) * 440) * MIB,
        ),
    ]


def _cpus(cores: int) -> list[Workload]:
    waiting = Source("wait a little", Tier.PROCESS, constant(0.88 * cores / 0.04), constant(0.04), constant(0.01))
    half = max(1.0, cores / 2)
    changing = burning(cores, constant(0.3))
    shared = burning(cores, constant(0.35))
    return [
        Workload("wait for a fifth of the time", cores, 60.0, (waiting,)),
        Workload(
            "quota changes",
            cores,
            60.0,
            (changing,),
            quota=stepped(float(cores), half, 20.0, 40.0),
            changes=(20.0, 40.0),
        ),
        Workload(
            "neighbours on all cores",
            cores,
            60.0,
            (shared,),
            neighbours=lambda now: cores if now >= 15.0 else 0,
            changes=(15.0,),
        ),
    ]


def _mixtures(cores: int) -> list[Workload]:
    moving = Source(
        "moving",
        Tier.COROUTINE,
        constant(0.25 * cores / 0.01),
        lambda now: 0.01 if 15.0 <= now < 45.0 else 0.0002,
        lambda now: 0.002 if 15.0 <= now < 45.0 else 0.1,
        adaptive=True,
    )
    cold = Source(
        "cold",
        Tier.PROCESS,
        constant(0.02),
        constant(0.04),
        constant(0.02),
        bursts=tuple((5.0 + 30.0 * number, 30 * cores) for number in range(4)),
    )
    many = tuple(
        Source(
            f"one of many {number}",
            Tier.PROCESS if number % 10 == 0 else Tier.COROUTINE,
            constant(0.3 * cores / 0.02 / (MANY / 10) if number % 10 == 0 else 0.5),
            constant(0.02 if number % 10 == 0 else 0.0002),
            constant(0.0 if number % 10 == 0 else 0.05),
        )
        for number in range(MANY)
    )
    return [
        Workload("moves there and back", cores, 90.0, (moving,)),
        Workload("cold batches", cores, 120.0, (cold,)),
        Workload("1,000 collectors", cores, 30.0, many),
    ]
