"""The memory of copies: used again when nothing looks into it, and given back in time."""

import asyncio
import mmap
import threading

import pytest

from event_collector import Collector, CollectorQueue
from event_collector.encoding import copies as module
from event_collector.encoding.copies import KEPT_FROM, MOST_KEPT, Copies
from tests.event_collector.modes import until
from tests.event_collector.tiers.sample_sent_values import ends

MIB = 1 << 20
LARGE = 5 * MIB


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    monkeypatch.setattr(module, "memory_limit", lambda: 1 << 40)
    return Copies()


@pytest.mark.parametrize("size", [KEPT_FROM + 1, MIB, LARGE])
async def test_memory_is_used_again_when_nothing_looks_into_it(copies: Copies, size: int) -> None:
    copy = copies.of([b"a" * size])
    memory = id(copy.obj)
    part = copy[5:7]
    del copy
    other = copies.of([b"b" * size])
    assert id(other.obj) != memory
    assert bytes(part) == b"aa"
    del part
    again = copies.of([b"c" * (size - 1)])
    assert id(again.obj) == memory
    assert bytes(again) == b"c" * (size - 1)
    assert bytes(other) == b"b" * size


async def test_memory_that_is_not_used_is_given_back(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """What something looks into is kept until nothing does."""
    monkeypatch.setattr(module, "IDLE", 0.02)
    seen = copies.of([bytes(LARGE)])
    copies.of([bytes(LARGE)])
    assert copies.kept >= 2 * LARGE
    await until(lambda: LARGE <= copies.kept < 2 * LARGE, "one is given back")
    assert bytes(seen) == bytes(LARGE)
    del seen
    await until(lambda: not copies.kept, "the other one, too")


async def test_a_queue_that_ends_gives_back_what_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_limit", lambda: 1 << 40)
    queue = CollectorQueue([Collector("c", ends, mode="process")], max_workers=1, logging=False)
    events = [await queue.send(bytearray(LARGE)) for _ in range(3)]
    async with queue:
        for event in events:
            assert await event.value() == [0, 0]
        assert module.copies.kept >= LARGE
    assert not module.copies.kept


async def test_no_more_is_kept_than_the_bound(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_limit", lambda: 16 * 3 * LARGE)
    held = [copies.of([bytes([number]) * LARGE]) for number in range(6)]
    assert copies.kept <= 3 * LARGE < MOST_KEPT
    assert [copy[-1] for copy in held] == list(range(6))


def test_nothing_is_kept_without_an_event_loop(copies: Copies) -> None:
    """Nothing would give it back."""
    assert bytes(copies.of([bytes(LARGE)])) == bytes(LARGE)
    assert not copies.kept


def test_another_event_loop_gives_back_what_one_has_left(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.02)

    async def copy() -> None:
        copies.of([bytes(LARGE)])

    asyncio.run(copy())
    assert copies.kept

    async def copy_and_wait() -> None:
        await copy()
        await until(lambda: not copies.kept, "it is given back")

    asyncio.run(copy_and_wait())


def test_threads_share_nothing(copies: Copies) -> None:
    found: list[int] = []

    async def copy() -> None:
        copies.of([bytes(LARGE)])
        thread = threading.Thread(target=lambda: found.append(copies.kept))
        thread.start()
        thread.join()
        found.append(copies.kept)

    asyncio.run(copy())
    assert found[0] == 0 < found[1]


async def test_small_copies_are_in_the_heap(copies: Copies) -> None:
    assert type(copies.of([b"ab", b"", b"c"]).obj) is bytes
    assert type(copies.of([bytes(KEPT_FROM)]).obj) is mmap.mmap
