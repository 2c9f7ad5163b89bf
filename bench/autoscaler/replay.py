"""Replays workloads of the simulation with a real queue on this machine, and shows both courses beside each other.

    python -m bench.autoscaler.replay --draw bench/report/autoscaler-real

Each is replayed some times, and the run with the median p99 is shown. In the simulation, the start of a worker, an
event and a decision take as long as here.

What differs from the simulation: messages to workers take time, readings are noisy, and other programs want the CPU as
well. Events that were due while the loop was held up are sent late; their latency counts from when they were due.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench.autoscaler.contest import OURS, run_law
from bench.autoscaler.disturbers import Disturbers
from bench.autoscaler.drawing import draw
from bench.autoscaler.records import Outcome
from bench.autoscaler.replayed import here, in_a_worker
from bench.autoscaler.simulation import INTERVAL
from bench.autoscaler.workloads import Shape, Source, Workload, calling, constant, workloads
from event_collector import Collector, CollectorEvent, CollectorQueue, Delivery, Payload
from event_collector_workers.autoscaler import Tier

CORES = 2
NAMES = ("step", "burst", "square", "IO only", "IO turning CPU", "hot loop")
DURATION = 22.0
"""Seconds that each may take: a workload that is longer passes faster."""
SAMPLING = 0.05
TOLERANCE, GRAIN = 0.1, 0.01
DISTURBED = 0.1
"""Cores that other programs may use until they are to blame for a difference."""
SEED = 1
MEASURED = 3.0
"""Seconds for which the cost of events is measured."""

HEAD = f"{'':16}{'':10}{'finished':>9}{'p50':>9}{'p99':>9}{'consumers':>10}{'workers':>8}{'changes':>8}{'to 90%':>8}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.autoscaler.replay", description=__doc__.split("\n")[0])
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="draw the courses, a page for each workload")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="some of them")
    parser.add_argument("--rounds", type=int, default=3, help="replays of each (default: %(default)s)")
    options = parser.parse_args()
    _take_two_cores()
    costs = _costs()
    print(
        f"a worker starts within {costs['startup_cpu'] + costs['startup_latency']:.3f} s, "
        f"an event takes {costs['dispatch'] * 1e6:.0f} us of the loop and a decision {costs['decision'] * 1e6:.0f}"
    )
    print(f"seconds; most consumers and workers; changes of size and place. {CORES} cores, {DURATION:.0f} s each")
    print(HEAD)
    agreed = [
        _compare(replace(_faster(workload, workload.duration / DURATION), **costs), options.rounds, options.draw)
        for workload in workloads(CORES)
        if workload.name in options.only
    ]
    if not all(agreed):
        sys.exit("the simulation says something else, and no other program is to blame")


def _take_two_cores() -> None:
    """Have no more cores than the simulated machine, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


async def _startup() -> float:
    """Return the seconds in which a second worker starts on this machine, beside one that is busy."""
    async with CollectorQueue([Collector("call", in_a_worker)], max_workers=CORES, logging=False) as queue:
        work = [queue.submit("call", [0.05, 0.0]) for _ in range(50)]
        await _until(lambda: queue.get_metrics().target_workers >= CORES)
        begun = time.monotonic()
        await _until(lambda: queue.get_metrics().workers >= CORES)
        took = time.monotonic() - begun
        for event in work:
            await event
        return took


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - metrics are asked for, they do not tell
        await asyncio.sleep(0.001)


def _costs() -> dict[str, float]:
    """Return what the start of a worker, an event and a decision take here, by the names that a Workload has for it."""
    startup = asyncio.run(_startup())
    few, many = (_cpu_of_waiting(rate) for rate in (100.0, 1000.0))
    dispatch = max(0.0, many[1] - few[1]) / (many[0] - few[0])
    decision = max(0.0, few[1] - dispatch * few[0]) * INTERVAL / MEASURED
    # Half of its start a worker computes.
    return {
        "startup_cpu": startup / 2, "startup_latency": startup / 2, "dispatch": dispatch, "decision": decision,
    }  # fmt: skip


def _cpu_of_waiting(rate: float) -> tuple[int, float]:
    """Return how many events came within a while that do nothing but wait, and the CPU seconds of this program."""
    source = calling(constant(rate), waiting=0.1, cpu=1e-9)
    workload = Workload("waiting", CORES, MEASURED, (source,))
    count, before = len(workload.arrivals(SEED)), time.process_time()
    asyncio.run(_replay(workload))
    return count, time.process_time() - before


def _faster(workload: Workload, factor: float) -> Workload:
    """Return the workload with its course of time pressed together; what an event costs stays as it is."""

    def pressed(shape: Shape) -> Shape:
        return lambda now: shape(now * factor)

    def press(source: Source) -> Source:
        return replace(
            source,
            rate=pressed(source.rate),
            cpu=pressed(source.cpu),
            waiting=pressed(source.waiting),
            bursts=tuple((at / factor, count) for at, count in source.bursts),
        )

    return replace(
        workload,
        duration=workload.duration / factor,
        sources=tuple(map(press, workload.sources)),
        step=None if workload.step is None else workload.step / factor,
        events={},
    )


def _compare(workload: Workload, rounds: int, folder: Path | None) -> bool:
    """Show both outcomes; return whether they agree, or somebody else is to blame."""
    with Disturbers() as others:
        runs = [asyncio.run(_replay(workload)) for _ in range(rounds)]
    measured = sorted(runs, key=lambda run: run.latency(0.99))[rounds // 2]
    simulated = run_law(OURS, workload, SEED)
    total = len(workload.arrivals(SEED))
    for name, outcome in (("measured", measured), ("simulated", simulated)):
        reached = "" if outcome.reached is None else f"{outcome.reached:7.2f}s"
        print(
            f"{workload.name:16}{name:10}{outcome.completed / total:>9.1%}{outcome.latency(0.5):>8.3f}s"
            f"{outcome.latency(0.99):>8.3f}s{max(one[1] for one in outcome.course):>10}"
            f"{max(one[2] for one in outcome.course):>8}{outcome.actions:>8}{reached:>8}"
        )
    differences = list(_differences(measured, simulated))
    is_disturbed = others.cores > DISTURBED
    verdict = "; ".join(differences) or "within 10%"
    print(f"{'':16}{verdict}{f'; {others}' if differences or is_disturbed else ''}", flush=True)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{workload.name.replace(' ', '-').lower()}.html"
        title = f"{workload.name}, {CORES} cores"
        draw(path, title, workload.duration, {"measured": measured, "simulated": simulated})
    return not differences or is_disturbed


def _differences(measured: Outcome, simulated: Outcome) -> Iterator[str]:
    """Yield what differs by more than a tenth, and latencies by more than messages to a worker and back take too."""
    if abs(measured.completed - simulated.completed) > TOLERANCE * simulated.completed:
        yield f"finished {measured.completed / simulated.completed:.2f} of it"
    for name, quantile in (("p50", 0.5), ("p99", 0.99)):
        ours, theirs = measured.latency(quantile), simulated.latency(quantile)
        if abs(ours - theirs) > max(TOLERANCE * theirs, GRAIN):
            yield f"{name} {ours / theirs:.2f} of it"


def _collector(source: Source) -> Collector:
    if source.adaptive:
        return Collector(source.key, here, mode="adaptive")
    return Collector(source.key, here if source.tier is Tier.COROUTINE else in_a_worker)


async def _replay(workload: Workload) -> Outcome:
    """Send every event when it is due, and note the course until the end of the workload."""
    collectors = [_collector(source) for source in workload.sources]
    queue = CollectorQueue(
        collectors, max_workers=8 * CORES, max_consumers=10_000, consumer_shutdown_timeout=2.0, logging=False
    )
    outcome = Outcome()
    async with queue:
        begin = time.monotonic()
        watching = asyncio.create_task(_watch(queue, workload, begin, outcome))
        events = await _send(queue, workload, begin)
        await asyncio.sleep(max(0.0, begin + workload.duration - time.monotonic()))
        outcome.completed = sum(event.is_done() for _, event in events)
        ages = [(event.finished or time.monotonic()) - due for due, event in events]
        outcome.latencies = [max(0.0, age) for age in ages]
        watching.cancel()
    return outcome


async def _send(queue: CollectorQueue, workload: Workload, begin: float) -> list[tuple[float, CollectorEvent]]:
    publisher = queue.get_publisher()
    sent: list[tuple[float, CollectorEvent]] = []
    for event in workload.arrivals(SEED):
        due = begin + event.at
        late = due - time.monotonic()
        if late > 0:
            await asyncio.sleep(late)
        key = workload.sources[event.source].key
        payload = Payload([event.cpu, event.waiting], Delivery.KEY, keys=[key])
        sent.append((due, await publisher.send(payload)))
    return sent


async def _watch(queue: CollectorQueue, workload: Workload, begin: float, outcome: Outcome) -> None:
    """Note sizes and backlog, how often they changed, and when the capacity for the step was there."""
    last: tuple[object, ...] = ()
    while True:
        now, metrics = time.monotonic() - begin, queue.get_metrics()
        outcome.course.append((now, metrics.consumers, metrics.workers, metrics.qsize))
        places = [collector.place for collector in queue.collectors.values()]
        present = (metrics.target_consumers, metrics.target_workers, *places)
        outcome.actions += sum(a != b for a, b in zip(last, present, strict=False))
        last = present
        capacity = metrics.workers + (metrics.consumers if "coroutine" in places else 0)
        step = workload.step
        if step is not None and outcome.reached is None and now >= step and capacity >= 0.9 * workload.needed:
            outcome.reached = now - step
        await asyncio.sleep(SAMPLING)


if __name__ == "__main__":
    main()
