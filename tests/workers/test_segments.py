"""Segments of shared memory without workers: who may use them, and when they are given up."""

import os
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_collector_workers.segments.exchange import Exchange
from event_collector_workers.segments.segment import Segment
from event_collector_workers.segments.segment_sizes import RETIRED, SHARED_FROM, size_for, suits
from event_collector_workers.segments.shared_memory import SharedMemory
from event_collector_workers.segments.worker_segments import WorkerSegments
from event_collector_workers.transport.filling import Filling
from event_collector_workers.transport.page import ParentPage, WorkerPage, create_page_file
from tests.workers.pools import until

MIB = 1024 * 1024


class Announcements:
    """What a worker is told of segments."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def added(self, slot: int, size: int, lease: int, *, is_for_results: bool) -> None:
        self.told.append((slot, size, lease, is_for_results))

    def removed(self, slot: int) -> None:
        self.told.append((slot,))

    def pass_on(self, worker: WorkerSegments) -> None:
        """Have the worker learn it."""
        for told in self.told:
            if len(told) == 1:
                worker.remove(told[0])
            else:
                worker.add(*told[:3], is_for_results=told[3])
        self.told.clear()


class Pair:
    """Both sides of the segments of one worker, in this process."""

    def __init__(self, limit: int = 64 * MIB, idle: float = 60.0) -> None:
        fd = create_page_file()
        self.page, self.theirs = ParentPage(fd), WorkerPage(fd)
        self.memory, self.announced = SharedMemory(limit, idle), Announcements()
        self.exchange = Exchange(self.memory, self.page, self.announced)
        self.worker = WorkerSegments(self.theirs, os.dup(self.exchange.take_inlet()[0]))

    def tell(self) -> None:
        """Have the worker learn what was announced."""
        self.announced.pass_on(self.worker)

    def send(self, data: bytes) -> tuple[Segment, int, memoryview]:
        """Send a payload; return its segment, its lease, and the view of the worker."""
        lent = self.exchange.lend(len(data))
        assert lent is not None
        filling = Filling(lent[0], [memoryview(data)], b"", list)
        while not filling.is_over:
            filling.go_on(MIB)
        self.tell()
        self.slot = lent[1]
        view = self.worker.open(self.slot, lent[2], len(data))
        assert view is not None
        return lent[0], lent[2], view

    def answer(self, data: bytes) -> memoryview | None:
        """Put a result into a segment; return the view of the program."""
        place = self.worker.put([memoryview(data)], len(data))
        return None if place is None else self.exchange.accept(*place, len(data))

    def close(self) -> None:
        self.exchange.close()
        self.memory.close()


@pytest.fixture
async def pair() -> Any:
    made = Pair()
    yield made
    made.close()


async def test_a_segment_is_used_again_when_nothing_looks_into_it(pair: Pair) -> None:
    """A view, and a slice of it that outlives it, keep a segment; then the next payload gets it, not a new one."""
    segment, _, view = pair.send(b"a" * MIB)
    part = view[7:9]
    del view
    pair.worker.end_unseen()
    other, _, another = pair.send(b"b" * MIB)
    assert other is not segment
    assert bytes(part) == b"aa"
    del part, another
    pair.worker.end_unseen()
    assert pair.send(b"c" * MIB)[0] in (segment, other)
    assert pair.memory.count == 2


async def test_a_lease_that_ends_twice_ends_once(pair: Pair) -> None:
    """What a worker notes again, late, does not release the next use of the segment."""
    segment, lease, view = pair.send(b"a" * MIB)
    del view
    pair.worker.end_unseen()
    again, _, view = pair.send(b"b" * MIB)
    assert again is segment
    pair.theirs.end_lease(pair.slot, lease)
    third, _, _ = pair.send(b"c" * MIB)
    assert third is not segment
    assert bytes(view[:2]) == b"bb"


async def test_retired_memory_is_not_used_again(pair: Pair) -> None:
    """The worker retires the segments that a fork of it sees: the program gives them up."""
    segment, lease, view = pair.send(b"a" * MIB)
    pair.theirs.end_lease(pair.slot, lease | RETIRED)
    other, _, _ = pair.send(b"b" * MIB)
    assert other is not segment
    assert pair.memory.count == 1
    assert bytes(view[:1]) == b"a"


async def test_results_come_in_segments_that_were_granted(pair: Pair) -> None:
    """Without a grant there is none for a result. Each grant is for one result, which stays while it is looked at."""
    assert pair.answer(b"a" * MIB) is None
    pair.exchange.grant(MIB)
    pair.tell()
    results = [pair.answer(bytes([65 + number]) * MIB) for number in range(3)]
    assert results[2] is None
    for number, result in enumerate(results[:2]):
        assert result is not None
        assert not result.readonly
        assert bytes(result[-2:]) == bytes([65 + number]) * 2


@pytest.mark.parametrize(("slot", "lease", "size"), [(9, 1, 10), (0, 7, 10), (0, 1, 3 * MIB)])
async def test_a_result_in_memory_that_was_not_granted_is_refused(pair: Pair, slot: int, lease: int, size: int) -> None:
    """Other code of the worker may write to its socket: what it names has to be a grant."""
    pair.exchange.grant(MIB)
    with pytest.raises(ValueError, match="segment"):
        pair.exchange.accept(slot, lease, size)


async def test_a_grant_that_is_recalled_may_have_been_used() -> None:
    """A result that crosses the recall arrives, and its segment is given up afterwards."""
    pair = Pair()
    pair.exchange.grant(MIB)
    pair.tell()
    pair.exchange.recall(float("inf"))
    result = pair.answer(b"a" * MIB)
    pair.tell()
    pair.memory.statistics()
    assert pair.memory.count == 1
    assert result is not None
    assert bytes(result[:1]) == b"a"
    del result
    assert pair.memory.statistics().in_use == 0
    assert pair.memory.count == 0
    pair.close()


async def test_idle_segments_are_given_up() -> None:
    """After a while without use both sides let them go; one that is looked at stays."""
    pair = Pair(idle=0.02)
    kept = pair.send(b"a" * MIB)[2]
    pair.send(b"b" * MIB)
    pair.exchange.grant(MIB)
    pair.tell()

    def is_down_to_one() -> bool:
        pair.tell()
        pair.worker.end_unseen()
        return pair.memory.count == 1

    await until(is_down_to_one)
    assert bytes(kept[:1]) == b"a"
    del kept
    pair.worker.end_unseen()
    await until(lambda: pair.memory.count == 0)
    pair.close()


async def test_the_bound_counts_what_is_still_looked_at() -> None:
    """A result of a worker that is gone counts until nothing looks at it."""
    pair = Pair(limit=4 * MIB)
    pair.exchange.grant(MIB)
    pair.tell()
    result = pair.answer(b"a" * MIB)
    pair.exchange.close()
    assert pair.memory.statistics().in_use == pair.memory.size == MIB
    assert result is not None
    assert bytes(result[:1]) == b"a"
    del result
    assert pair.memory.statistics().segments == 0
    pair.memory.close()


async def test_a_worker_that_cannot_map_a_segment_refuses_all() -> None:
    """Without a descriptor, as beyond RLIMIT_NOFILE, the worker has the program use the socket."""
    pair = Pair()
    outlet, inlet = socket.socketpair()
    worker = WorkerSegments(pair.theirs, inlet.detach())
    outlet.sendall(b"\0")
    worker.add(0, MIB, 0, is_for_results=False)
    assert worker.open(0, 1, MIB) is None
    assert pair.exchange.lend(MIB) is None
    outlet.close()
    pair.close()


@given(st.integers(SHARED_FROM, 1 << 40))
def test_a_segment_is_at_most_a_quarter_larger_than_its_value(nbytes: int) -> None:
    """Sizes are coarse, so that segments suit other values too, and waste little."""
    size = size_for(nbytes)
    assert nbytes <= size <= nbytes * 1.25
    assert suits(size, nbytes)
    assert size_for(size) == size
