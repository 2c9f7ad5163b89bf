"""Workloads that the law's constants were not chosen with: other shapes, other sizes of machine, other seeds."""

import math
import random
from dataclasses import replace

from bench.autoscaler.workloads import MIB, Shape, Source, Workload, burning, calling, constant, stepped
from event_collector_workers.autoscaler import Tier


def unseen(cores: int) -> list[Workload]:
    """Return the fifteen workloads for a machine with so many cores."""
    return [*_courses(cores), *_costs(cores), *_surprises(cores), *_on_the_loop(cores)]


def _courses(cores: int) -> list[Workload]:
    def story(name: str, load: Shape, duration: float) -> Workload:
        return Workload(name, cores, duration, (burning(cores, load),))

    twins = replace(burning(cores, constant(0.1)), bursts=((20.0, 15 * cores), (21.5, 15 * cores), (40.0, 30 * cores)))
    weather = _noise(240.0, 0.35)
    return [
        Workload("two bursts in a row", cores, 70.0, (twins,)),
        story(
            "noisy day", lambda now: max(0.02, (0.4 - 0.33 * math.cos(now * math.tau / 120.0)) * weather(now)), 240.0
        ),
        # The worker tier is kept for 15 s and the loop's for 10 s after its need: these wake up just after that.
        story("on and off every 18 s", lambda now: 0.7 if now % 18.0 < 2.0 else 0.01, 120.0),
        story("staircase", lambda now: 0.1 + 0.1 * min(int(now / 10.0), 16 - int(now / 10.0)), 160.0),
    ]


def _noise(duration: float, spread: float) -> Shape:
    """Return a factor around 1 that changes every two seconds, the same in every run."""
    dice = random.Random(20)
    factors = [math.exp(dice.gauss(0.0, spread)) for _ in range(int(duration / 2.0) + 1)]
    return lambda now: factors[min(len(factors) - 1, int(now / 2.0))]


def _costs(cores: int) -> list[Workload]:
    bimodal = burning(cores, stepped(0.3, 0.6, 30.0), scatter="two kinds")
    leak = Source(
        "leak",
        Tier.PROCESS,
        constant(0.2 * cores / 0.02),
        lambda now: 0.02 + 0.045 * min(1.0, now / 120.0),
        constant(0.0),
    )
    sizes = tuple(
        burning(cores, constant(load), cpu=cpu, key=f"{cpu * 1e3:.0f} ms")
        for cpu, load in ((0.002, 0.1), (0.03, 0.25), (0.4, 0.25))
    )
    waiting = Source(
        "wait in workers",
        Tier.PROCESS,
        lambda now: (0.6 if now >= 20.0 else 0.2) * cores / 0.01,
        constant(0.01),
        constant(0.09),
    )
    return [
        Workload("two kinds of events", cores, 80.0, (bimodal,)),
        Workload("service time that leaks", cores, 140.0, (leak,)),
        Workload("three sizes of events", cores, 60.0, sizes),
        Workload("workers that wait", cores, 60.0, (waiting,), step=20.0, needed=6.0 * cores),
    ]


def _surprises(cores: int) -> list[Workload]:
    deploy = Source(
        "deploy",
        Tier.PROCESS,
        constant(0.5 * cores / 0.02),
        lambda now: 0.02 * (1.0 + 0.7 * math.exp(-now / 6.0)),  # caches are cold
        constant(0.0),
    )
    neighbours = burning(cores, constant(0.3), cpu=0.015)
    outage = Source(
        "outage",
        Tier.COROUTINE,
        constant(200.0),
        constant(0.0003),
        constant(0.04),
        slowness=stepped(1.0, 25.0, 20.0, 26.0),
    )
    return [
        Workload("deploy with a cold start", cores, 60.0, (deploy,), startup_latency=1.0, startup_cpu=0.5),
        Workload(
            "neighbours that come and go",
            cores,
            80.0,
            (neighbours,),
            neighbours=lambda now: cores // 2 if now % 14.0 < 5.0 else 0,
            changes=tuple(start + part for start in range(0, 80, 14) for part in (0.0, 5.0)),
            worker_memory=120 * MIB,
        ),
        Workload("outage of a back end", cores, 60.0, (outage,), changes=(20.0, 26.0)),
    ]


def _on_the_loop(cores: int) -> list[Workload]:
    herd = replace(calling(constant(20.0), 0.12), bursts=tuple((6.0 + 7.0 * k, 800) for k in range(8)))
    flickering = Source(
        "flickering",
        Tier.COROUTINE,
        constant(0.3 * cores / 0.012),
        lambda now: 0.012 if now % 50.0 >= 30.0 else 0.0003,
        constant(0.03),
        adaptive=True,
    )
    beside = Source("beside", Tier.COROUTINE, constant(150.0), constant(0.0002), constant(0.04), adaptive=True)
    pulses = calling(lambda now: 500.0 if now % 12.0 < 2.0 else 5.0, 0.1)
    return [
        Workload("herd of calls every 7 s", cores, 62.0, (herd,)),
        Workload("calls on and off every 12 s", cores, 72.0, (pulses,)),
        Workload("now CPU, now IO", cores, 110.0, (flickering, beside)),
        Workload("quota of half a core", cores, 60.0, (burning(0.5, stepped(0.2, 0.7, 20.0)),), quota=constant(0.5)),
    ]
