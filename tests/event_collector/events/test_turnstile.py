"""Senders that wait for a turn of the loop: how many of them go on in each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from event_collector.events.turnstile import WIDEST, Turnstile


@asynccontextmanager
async def waiting(turnstile: Turnstile, count: int) -> AsyncIterator[list[int]]:
    """That many senders at the turnstile; yields the numbers of those that have passed it."""
    passed: list[int] = []

    async def sender(number: int) -> None:
        await turnstile.wait()
        passed.append(number)

    tasks = [asyncio.create_task(sender(number)) for number in range(count)]
    await asyncio.sleep(0)
    yield passed
    turnstile.admit_all()
    await asyncio.gather(*tasks)
    assert passed == sorted(passed)
    assert len(passed) == count


async def turn(turnstile: Turnstile, passed: list[int], *, used_up: bool) -> int:
    """Admit, and return how many senders have gone on."""
    before = len(passed)
    turnstile.admit(used_up=used_up)
    await asyncio.sleep(0)
    return len(passed) - before


async def test_more_go_on_while_there_is_time_and_fewer_when_there_is_none() -> None:
    """Twice as many after a turn with time left, half as many after another; in the order of their coming."""
    turnstile = Turnstile()
    async with waiting(turnstile, 100) as passed:
        assert [await turn(turnstile, passed, used_up=False) for _ in range(4)] == [2, 4, 8, 16]
        assert [await turn(turnstile, passed, used_up=True) for _ in range(5)] == [8, 4, 2, 1, 1]
        assert await turn(turnstile, passed, used_up=False) == 2


async def test_what_happens_while_nobody_waits_does_not_count() -> None:
    """Turns without senders widen nothing, or the first ones that come would all be woken to wait again."""
    turnstile = Turnstile()
    for _ in range(20):
        assert not turnstile.admit(used_up=False)
    async with waiting(turnstile, 100) as passed:
        assert await turn(turnstile, passed, used_up=False) == 2


async def test_there_is_a_bound_to_how_many_go_on_in_one_turn() -> None:
    """Not all of a great many are woken at once, which would keep others waiting by itself."""
    turnstile = Turnstile()
    async with waiting(turnstile, 5 * WIDEST) as passed:
        assert max([await turn(turnstile, passed, used_up=False) for _ in range(12)]) == WIDEST
