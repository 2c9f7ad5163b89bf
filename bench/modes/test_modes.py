"""Every scenario with every contestant, and how those with processes scale."""

import asyncio
import gc
import importlib.util
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest

from bench.modes.clock import CLOCK
from bench.modes.contestants import CONTESTANTS, Contestant, Running
from bench.modes.scenarios import SCALING_GROUP, SCENARIOS, Scenario, scenario
from event_collector.benchmark.gauge import Gauge
from event_collector_workers.machine.probe import granted_cpus

CPUS = max(1, round(granted_cpus()))
QUICK = bool(os.environ.get("BENCH_QUICK"))
"""A first answer: less of everything."""
ROUNDS = 5 if QUICK else 7
QUICK_SCENARIOS = ("no-op", "wait 10 ms", "compute 1 ms")
QUICK_CONTESTANTS = ("coroutine", "process", "asyncio.TaskGroup", "ProcessPoolExecutor, run_in_executor")
SCALING = ("process", "ProcessPoolExecutor, run_in_executor", "ProcessPoolExecutor.map")
LATENCIES = 0.1 if QUICK else 0.3
"""Seconds for which one value after the other is run."""


class WrongResultsError(Exception):
    """The time it took means nothing."""


def check(found: Sequence[Any], expected: Sequence[Any]) -> None:
    if list(found) != list(expected):
        raise WrongResultsError(f"expected {str(expected)[:200]}, found {str(found)[:200]}")


@pytest.fixture
def loop() -> Any:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.mark.benchmark(timer=CLOCK.now)
@pytest.mark.parametrize("name", QUICK_CONTESTANTS if QUICK else CONTESTANTS)
@pytest.mark.parametrize("scene", QUICK_SCENARIOS if QUICK else SCENARIOS)
def test_modes(loop: asyncio.Runner, benchmark: Any, scene: str, name: str) -> None:
    """All values at once, and one after the other, give the right results."""
    benchmark.group = scene
    measure(loop, benchmark, scenario(scene), name, CPUS)


@pytest.mark.benchmark(timer=CLOCK.now)
@pytest.mark.parametrize("workers", sorted({1, 2, CPUS // 2 or 1, CPUS, 2 * CPUS}))
@pytest.mark.parametrize("name", SCALING)
@pytest.mark.skipif(QUICK, reason="left out of a quick run")
def test_scaling(loop: asyncio.Runner, benchmark: Any, name: str, workers: int) -> None:
    """The same work with more and more processes."""
    benchmark.group = SCALING_GROUP
    measure(loop, benchmark, scenario("compute 1 ms"), name, workers)


def measure(loop: asyncio.Runner, benchmark: Any, scene: Scenario, name: str, workers: int) -> None:
    contestant = CONTESTANTS[name]
    if scene.kind not in contestant.kinds:
        pytest.skip(f"{name} is not made for that")
    for module in contestant.modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    with AsyncExitStackOn(loop) as stack, frozen_heap():
        try:
            running: Running = stack.enter(contestant.start(scene, workers))
        except LookupError as exc:
            pytest.skip(str(exc))
        _rounds(loop, benchmark, scene, contestant, running)
        benchmark.extra_info |= {"scenario": scene.name, "contestant": name, "workers": workers, "cpus": CPUS,
                                 "work": scene.work} | _latency(loop, scene, running.one)  # fmt: skip


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Keep what the test runner has made from the garbage collector, which would take a tenth of a second for it.

    A queue would meet that between two rounds, as a loop that is full of work.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _rounds(loop: asyncio.Runner, benchmark: Any, scene: Scenario, contestant: Contestant, running: Running) -> None:
    few = scene.few if contestant.serial and scene.few is not None else len(scene.values)
    values, expected = scene.values[:few], scene.expected[:few]
    gauge, memory = Gauge(), [0]
    spent: list[Any] = []

    async def run() -> None:
        check(await running.many(values), expected)

    def round_() -> None:
        before = gauge.read()
        loop.run(run())
        spent.append(gauge.read() - before)

    def between() -> None:
        memory.append(sum(gauge.memory()))
        gc.collect()

    benchmark.pedantic(round_, setup=between, rounds=ROUNDS, warmup_rounds=1)
    between()
    counted = spent[-ROUNDS:]
    benchmark.extra_info |= {
        "events": few,
        "own_cpu": sum(one.own_cpu for one in counted) / ROUNDS / few,
        "worker_cpu": sum(one.worker_cpu for one in counted) / ROUNDS / few,
        "memory": max(memory),
    }


def _latency(loop: asyncio.Runner, scene: Scenario, one: Callable[[Any], Awaitable[Any]]) -> dict[str, list[float]]:
    """Return the percentiles, 0 to 100, of the seconds of one value after the other."""
    times: list[float] = []

    async def run() -> None:
        end = time.perf_counter() + LATENCIES
        while not times or (time.perf_counter() < end and len(times) < 2000):
            index = len(times) % len(scene.values)
            begun = CLOCK.now()
            found = await one(scene.values[index])
            times.append(CLOCK.now() - begun)
            check([found], [scene.expected[index]])

    loop.run(run())
    ordered = sorted(times)
    return {"latencies": [ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in range(101)]}


class AsyncExitStackOn:
    """Enters and leaves asynchronous contexts from without the loop."""

    def __init__(self, loop: asyncio.Runner) -> None:
        self._loop, self._stack = loop, AsyncExitStack()

    def __enter__(self) -> "AsyncExitStackOn":
        return self

    def enter(self, context: Any) -> Any:
        return self._loop.run(self._stack.enter_async_context(context))

    def __exit__(self, *exc: object) -> None:
        self._loop.run(self._stack.aclose())
