"""Values that are copied once, into memory that workers map."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from event_collector_workers.segments import shared_copies
from event_collector_workers.segments.exchange import Exchange
from event_collector_workers.segments.segment_sizes import RETIRED
from event_collector_workers.segments.shared_memory import SharedMemory
from event_collector_workers.segments.worker_segments import WorkerSegments
from event_collector_workers.transport.page import ParentPage, WorkerPage, create_page_file
from tests.workers.pools import until
from tests.workers.test_segments import Announcements

MIB = 1024 * 1024


class Side:
    """Both sides of one worker of a pool, in this process."""

    def __init__(self, memory: SharedMemory) -> None:
        fd = create_page_file()
        self.page, self.theirs, self.announced = ParentPage(fd), WorkerPage(fd), Announcements()
        self.exchange = Exchange(memory, self.page, self.announced)
        self.worker = WorkerSegments(self.theirs, os.dup(self.exchange.take_inlet()[0]))

    def read(self, view: memoryview) -> memoryview | None:
        """Let the worker read a copy; None if it cannot."""
        place = self.exchange.lend_copy(view)
        self.tell()
        return None if place is None else self.worker.open(*place, view.nbytes)

    def tell(self) -> None:
        """Have the worker learn what was announced."""
        self.announced.pass_on(self.worker)

    def close(self) -> None:
        """Let go of what the program has of it."""
        self.exchange.close()


@pytest.fixture
async def memory() -> Any:
    made = SharedMemory(64 * MIB, 60.0)
    yield made
    made.close()


Sides = Callable[[SharedMemory], Side]


@pytest.fixture
def sides() -> Iterator[Sides]:
    """Make sides that are closed after the test."""
    with ExitStack() as stack:

        def make(memory: SharedMemory) -> Side:
            side = Side(memory)
            stack.callback(side.close)
            return side

        yield make


def address(view: memoryview) -> int:
    """Tell apart the memory of two views."""
    return id(view.obj)


async def test_several_workers_read_one_copy(memory: SharedMemory, sides: Sides) -> None:
    """It is used again when the program and all workers have let go of it."""
    one, other = sides(memory), sides(memory)
    view = memory.copy([b"a" * MIB, b"b" * MIB])
    assert view.readonly
    read = [one.read(view), other.read(view)]
    assert [bytes(each[MIB - 1 : MIB + 1]) for each in read if each is not None] == [b"ab", b"ab"]
    first = address(view)
    del view, read[0]
    one.worker.end_unseen()
    assert address(memory.copy([b"c" * 2 * MIB])) != first
    read.clear()
    other.worker.end_unseen()
    views = [memory.copy([b"d" * 2 * MIB]) for _ in range(3)]
    assert first in map(address, views)
    assert memory.statistics().segments == 3


async def test_a_part_of_a_copy_is_no_copy(memory: SharedMemory, sides: Sides) -> None:
    """Nor is what lies elsewhere. The worker would read the beginning."""
    side = sides(memory)
    view = memory.copy([b"a" * MIB])
    assert side.read(view[1:]) is None
    assert side.read(memoryview(b"a" * MIB)) is None
    assert side.read(view) == view


async def test_a_worker_has_one_lease_at_a_time(memory: SharedMemory, sides: Sides) -> None:
    side = sides(memory)
    view = memory.copy([b"a" * MIB])
    read = side.read(view)
    assert read is not None
    assert side.read(view) is None
    del read
    side.worker.end_unseen()
    assert side.read(view) == view


@pytest.mark.parametrize("who", ["fork of the worker", "fork of the program", "end of the worker"])
async def test_what_a_fork_may_see_is_not_used_again(memory: SharedMemory, sides: Sides, who: str) -> None:
    side = sides(memory)
    view = memory.copy([b"a" * MIB])
    first = address(view)
    slot, lease = side.exchange.lend_copy(view) or (0, 0)
    if who == "fork of the worker":
        side.theirs.end_lease(slot, lease | RETIRED)
        side.exchange.collect()
    elif who == "fork of the program":
        memory.prepare_fork()
        side.theirs.end_lease(slot, lease)
    else:
        side.exchange.close()
    assert memory.copy_in(view) is None
    assert side.exchange.lend_copy(view) is None
    kept = view.obj  # so that its identity stays taken
    del view
    assert address(memory.copy([b"b" * MIB])) != first
    del kept


async def test_a_worker_maps_few_at_a_time(memory: SharedMemory, sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that it had last."""
    monkeypatch.setattr("event_collector_workers.segments.exchange._MAPPED", 5 * MIB)
    side = sides(memory)
    views = [memory.copy([bytes([number]) * MIB]) for number in range(8)]
    for view in views:
        assert side.read(view) == view
        side.worker.end_unseen()
    assert repr(side.worker) == "<WorkerSegments payloads=5 in use=0 rooms=0>"
    assert side.read(views[0]) == views[0]


async def test_half_of_the_memory_is_for_copies(memory: SharedMemory) -> None:
    views = [memory.copy([b"a" * 8 * MIB]) for _ in range(6)]
    assert [memory.copy_in(view) is not None for view in views] == [True] * 4 + [False] * 2
    assert memory.make(16 * MIB, is_for_results=True) is not None
    assert memory.statistics().in_use == 32 * MIB
    del views
    assert memory.copy_in(memory.copy([b"a" * 20 * MIB])) is None  # the first one: its pages are not there
    assert memory.copy_in(memory.copy([b"a" * 3 * MIB])) is not None  # what is free makes room for another size


async def test_pages_of_large_copies_come_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop has its turn; a size that is not usual is not prepared."""
    memory = SharedMemory(256 * MIB, 60.0)
    data = b"a" * (32 * MIB)
    assert memory.copy_in(memory.copy([data])) is None
    assert memory.statistics().segments == 0
    assert memory.copy_in(memory.copy([data])) is None
    turns = 0
    while memory.copy_in(memory.copy([data])) is None:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20
    assert memory.statistics().segments == 1
    memory.close()


async def test_copies_that_nobody_uses_are_given_up(sides: Sides) -> None:
    memory = SharedMemory(64 * MIB, 0.02)
    side = sides(memory)
    view = memory.copy([b"a" * MIB])
    assert side.read(view) == view
    side.worker.end_unseen()
    assert memory.statistics().segments == 1
    del view
    await until(lambda: memory.statistics().segments == 0)
    side.tell()
    assert repr(side.worker) == "<WorkerSegments payloads=0 in use=0 rooms=0>"
    memory.close()


async def test_no_memory_is_no_error(memory: SharedMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no more")

    monkeypatch.setattr(shared_copies, "SharedCopy", fail)
    view = memory.copy([b"a" * MIB])
    assert (bytes(view), memory.copy_in(view)) == (b"a" * MIB, None)
    assert SharedMemory(0).copy([b"a" * MIB]) == view


async def test_memory_that_runs_out_leaves_no_descriptor(memory: SharedMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[shared_copies.SharedCopy] = []

    def fail(copy: shared_copies.SharedCopy, _most: int) -> int:
        made.append(copy)
        raise OSError("no memory left")

    monkeypatch.setattr(shared_copies.SharedCopy, "allocate", fail)
    view = memory.copy([b"a" * MIB])
    assert (bytes(view), memory.copy_in(view)) == (b"a" * MIB, None)
    with pytest.raises(ValueError, match="is closed"):
        made[0].fileno()
    assert memory.statistics().segments == 0


async def test_a_closed_pool_makes_private_copies() -> None:
    memory = SharedMemory(64 * MIB)
    view = memory.copy([b"a" * MIB])
    memory.close()
    assert bytes(view) == b"a" * MIB
    assert memory.copy_in(memory.copy([b"b" * MIB])) is None
