"""Threads of numeric libraries: workers share the CPUs, and are forked although a library has threads."""

import os
from importlib.util import find_spec
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Payload

ONE, TWO = 2, 1 + min(2, len(os.sched_getaffinity(0)))
"""Threads of a worker whose library uses one or two: one more follows the program's life."""

pytestmark = pytest.mark.skipif(find_spec("numpy") is None, reason="needs numpy")


async def threads_and_parents(workers: int, **options: Any) -> tuple[set[int], set[int]]:
    """Return the numbers of threads of workers that multiply matrices, and the processes that started them."""
    from tests.event_collector.tiers.workers.sample_numpy import multiply

    queue = CollectorQueue([Collector("multiply", multiply)], max_workers=workers, logging=False, **options)
    async with queue:
        events = await queue.get_publisher().send_many(Payload(600) for _ in range(3))
        found = [(await event.wait()).first().unwrap() for event in events]
        zygote = queue._engine._tiers.workers.groups["default"].pool._launcher._process.pid
    return {threads for threads, _ in found}, {parent == zygote for _, parent in found}


async def test_a_worker_has_its_share_of_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more workers than CPUs, no worker starts a thread."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert await threads_and_parents(64) == ({ONE}, {True})


async def test_a_worker_with_more_threads_is_forked_all_the_same() -> None:
    """The library has started its threads at the import, ends them for the fork, and starts others in the worker."""
    assert await threads_and_parents(1, worker_threads=2) == ({TWO}, {True})


async def test_the_environment_of_the_program_decides_and_the_option_precedes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has set a number of threads has meant it."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (await threads_and_parents(64))[0] == {TWO}
    assert (await threads_and_parents(64, worker_threads=1))[0] == {ONE}
    assert (await threads_and_parents(64, worker_threads=1, worker_env={"OPENBLAS_NUM_THREADS": "2"}))[0] == {TWO}
