"""Random numbers of workers: no two workers draw the same ones, and a seed makes all of them reproducible."""

import os
import signal
from importlib.util import find_spec
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Payload, worker_number
from event_collector.testing import in_process_workers
from tests.event_collector.tiers.workers import sample_generators

NUMPY = pytest.param("numpy", marks=pytest.mark.skipif(find_spec("numpy") is None, reason="needs numpy"))
START_METHODS = ["forkserver", "spawn", "fork"]


def handler_of(kind: str) -> Any:
    if kind == "random":
        return sample_generators.draw
    from tests.event_collector.tiers.workers import sample_numpy

    return sample_numpy.draw


async def first_numbers(kind: str, *, kills: bool = False, **options: Any) -> list[list[float]]:
    """Return the first numbers of both workers of a queue; with `kills`, also those of the successor of the first."""
    queue = CollectorQueue(
        [Collector("draw", handler_of(kind))], min_workers=2, max_workers=2, logging=False, **options
    )
    found: dict[int, tuple[int, list[float]]] = {}  # by process id
    async with queue:
        await look_for(2, queue, found)
        workers = sorted(found.values())
        if kills:
            first = next(pid for pid, (number, _) in found.items() if number == 0)
            os.kill(first, signal.SIGKILL)
            await look_for(3, queue, found)
            (successor,) = [one for one in found.values() if one not in workers]
            assert successor[0] == 0
            workers.append(successor)
    return [numbers for _, numbers in workers]


async def look_for(count: int, queue: CollectorQueue, found: dict[int, tuple[int, list[float]]]) -> None:
    """Send events until that many workers have answered."""
    while len(found) < count:
        for event in await queue.get_publisher().send_many(Payload(n) for n in range(4)):
            result = (await event.wait()).first()
            if result.ok():  # else a worker was killed with the event
                number, pid, numbers = result.unwrap()
                found[pid] = number, numbers


@pytest.mark.parametrize("start_method", START_METHODS)
@pytest.mark.parametrize("kind", ["random", NUMPY])
async def test_no_two_workers_draw_the_same_numbers(kind: str, start_method: str) -> None:
    """Wherever a module has its generators: in itself, in a class, an instance, a container or a closure."""
    one, another = await first_numbers(kind, start_method=start_method)
    assert len({*one, *another}) == len(one) + len(another)


@pytest.mark.parametrize("kind", ["random", NUMPY])
async def test_a_seed_makes_the_numbers_of_each_worker_reproducible(kind: str) -> None:
    """By the number of the worker; its successor has other ones, which are reproducible too."""
    first = await first_numbers(kind, kills=True, seed=2**100)
    assert len({number for numbers in first for number in numbers}) == sum(map(len, first))
    assert await first_numbers(kind, kills=True, seed=2**100) == first
    assert await first_numbers(kind, seed=7) != first[:2]


async def test_a_seed_gives_the_same_numbers_in_every_start_method() -> None:
    """To the generators that are attributes of modules and classes."""
    first = await first_numbers("random", seed=7)
    spawned = await first_numbers("random", seed=7, start_method="spawn")
    assert [numbers[:3] + numbers[4:5] for numbers in first] == [numbers[:3] + numbers[4:5] for numbers in spawned]


async def test_the_program_itself_is_no_worker() -> None:
    """Its handlers have no number; the stand-in for a worker in a test has."""
    assert worker_number() is None
    with in_process_workers():
        async with CollectorQueue([Collector("draw", sample_generators.draw)], logging=False) as queue:
            event = await queue.get_publisher().send(Payload(0))
            number, pid, _ = (await event.wait()).first().unwrap()
    assert (number, pid) == (0, os.getpid())
    sample_generators.first.clear()
    assert worker_number() is None
