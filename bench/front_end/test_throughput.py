"""An event of a no-op handler in one process: for a quick look, and to compare commits with --benchmark-compare.

Ratios that count come from `python -m bench.front_end`, where each side has a process of its own.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bench.front_end.measured.patterns import PATTERNS, send_and_await
from bench.front_end.measured.queues import bare_queue, check, running_queue, sizes

EVENTS = 20_000
CONSUMERS = 64
ROUNDS = 7


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("autoscale", [True, False], ids=["autoscaled", "fixed"])
def test_this_library(runner: asyncio.Runner, benchmark: Any, pattern: str, autoscale: bool) -> None:
    """Every event gets its own result; the benchmark is of EVENTS of them."""
    benchmark.group = pattern
    with_queue = AsyncExitStack()
    publisher = runner.run(with_queue.enter_async_context(running_queue(**sizes(autoscale, CONSUMERS))))
    try:
        benchmark.pedantic(
            lambda: runner.run(send_and_await(pattern, publisher, EVENTS)), rounds=ROUNDS, warmup_rounds=1
        )
    finally:
        runner.run(with_queue.aclose())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bare_queue(runner: asyncio.Runner, benchmark: Any, pattern: str) -> None:
    """The same through an asyncio.Queue, worker tasks and one future per event."""
    benchmark.group = pattern
    _, through_queue, more = PATTERNS[pattern]

    async def send_all() -> None:
        async with bare_queue(CONSUMERS) as queue:
            results = await through_queue(queue, EVENTS, **more)
        check(results, list(range(EVENTS)))

    benchmark.pedantic(lambda: runner.run(send_all()), rounds=ROUNDS, warmup_rounds=1)
