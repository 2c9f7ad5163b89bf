"""The window: what may be in the works at once, and in which order it leaves."""

import asyncio

from event_collector import CollectorEvent, Payload, ResultList
from event_collector.command.lines.line_window import LineWindow, PendingLine


def finish(*lines: PendingLine) -> None:
    for line in lines:
        if line.event is not None:
            line.event.set_result(ResultList())


async def send(window: LineWindow, number: int, size: int = 1) -> PendingLine:
    line = await window.enter(number, size)
    line.attach(CollectorEvent(number, Payload(number)))
    return line


def taken(window: LineWindow) -> list[int]:
    lines = []
    while (line := window.take()) is not None:
        lines.append(line)
    window.leave(lines)
    return [line.number for line in lines]


async def test_lines_leave_in_the_order_of_the_input() -> None:
    """A finished line waits for those before it."""
    window = LineWindow(10, 1000, ordered=True)
    first, second, third = [await send(window, number) for number in (1, 2, 3)]
    finish(third, second)
    assert taken(window) == []
    finish(first)
    assert taken(window) == [1, 2, 3]


async def test_unordered_lines_leave_as_they_are_finished() -> None:
    """Without order nothing waits for a slow line."""
    window = LineWindow(10, 1000, ordered=False)
    first, second, third = [await send(window, number) for number in (1, 2, 3)]
    finish(third, first)
    assert taken(window) == [3, 1]
    finish(second)
    assert taken(window) == [2]


async def test_refused_line_takes_its_turn_like_the_others() -> None:
    """A line that never became an event is ready at once, and keeps its place."""
    window = LineWindow(10, 1000, ordered=True)
    first = await send(window, 1)
    (await window.enter(2, 1)).refuse(ValueError())
    assert taken(window) == []
    finish(first)
    assert taken(window) == [1, 2]


async def test_line_waits_for_room() -> None:
    """A full window lets the next line in when one has left, not when it is finished."""
    window = LineWindow(2, 1000, ordered=True)
    first, _ = await send(window, 1), await send(window, 2)
    third = asyncio.create_task(window.enter(3, 1))
    finish(first)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not third.done()
    assert taken(window) == [1]
    assert (await third).number == 3
    assert window.numbers() == [2, 3]


async def test_bytes_are_bounded_too_and_a_large_line_goes_alone() -> None:
    """Lines wait until their bytes have room; one that is larger than all room waits for an empty window."""
    window = LineWindow(100, 10, ordered=True)
    small = await send(window, 1, 6)
    large = asyncio.create_task(window.enter(2, 500))
    await asyncio.sleep(0)
    assert not large.done()
    finish(small)
    assert taken(window) == [1]
    assert (await large).number == 2


async def test_outlet_hears_of_lines_and_of_the_end() -> None:
    """wait() returns True for something to take, and False when the window is closed and empty."""
    window = LineWindow(10, 1000, ordered=True)
    line = await send(window, 1)
    waiting = asyncio.create_task(window.wait())
    await asyncio.sleep(0)
    finish(line)
    assert await waiting
    window.close()
    assert await window.wait()
    assert taken(window) == [1]
    assert not await window.wait()


async def test_withdrawn_line_leaves_no_gap() -> None:
    """A line that could not be sent is as if it had not been read."""
    window = LineWindow(10, 1000, ordered=True)
    window.withdraw(await window.enter(1, 1))
    finish(await send(window, 2))
    assert taken(window) == [2]
    assert window.numbers() == []
