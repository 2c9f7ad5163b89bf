"""One timer for many: it expires at the earliest time that was asked for, and once."""

import asyncio
import time

from event_collector_workers.pool.timer import EarliestTimer

FAR = 3600.0


async def test_it_expires_at_the_earliest_time_and_once() -> None:
    """Whatever is asked for before or after, in which order; and not again until it is armed again."""
    expired: asyncio.Queue[float] = asyncio.Queue()
    timer = EarliestTimer(asyncio.get_running_loop(), expired.put_nowait)
    for times in ((FAR, 0.001, FAR), (0.001, FAR), (0.001, 0.001)):
        for seconds in times:
            timer.arm(seconds)
        assert await asyncio.wait_for(expired.get(), 30.0) > -0.001
        assert expired.empty()


async def test_what_is_disarmed_does_not_expire() -> None:
    """Twice is as good as once, and it can be armed again."""
    expired: asyncio.Queue[float] = asyncio.Queue()
    timer = EarliestTimer(asyncio.get_running_loop(), expired.put_nowait)
    timer.arm(0.0)
    timer.disarm()
    timer.disarm()
    await asyncio.sleep(0.01)
    assert expired.empty()
    timer.arm(0.001)
    await asyncio.wait_for(expired.get(), 30.0)


async def test_it_says_how_late_it_is() -> None:
    """A loop that was blocked finds out by it."""
    late: asyncio.Queue[float] = asyncio.Queue()
    timer = EarliestTimer(asyncio.get_running_loop(), late.put_nowait)
    timer.arm(0.0)
    time.sleep(0.05)
    assert await asyncio.wait_for(late.get(), 30.0) >= 0.04
