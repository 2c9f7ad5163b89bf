"""The window of blocks: what is inside, and in which order it leaves."""

from event_collector.command.lines.block_window import BlockWindow, FinishedLines
from event_collector.tiers.workers.line_codec import LineResults
from event_collector.values.results import Error


def results(*numbers: int) -> LineResults:
    return LineResults(b"".join(b"%d\n" % number for number in numbers), len(numbers))


def taken(window: BlockWindow) -> list[FinishedLines]:
    blocks = []
    while (block := window.take()) is not None:
        blocks.append(block)
    window.leave(blocks)
    return blocks


async def test_blocks_leave_in_the_order_of_the_input_however_they_were_cut() -> None:
    """Results may span lines that were read at different times, and empty lines lie between."""
    window = BlockWindow(100, 1000, ordered=True)
    await window.enter(1, [b"a", b"b"])
    await window.enter(3, [b"c"])
    await window.enter_without_event(4, 3, None)
    await window.enter(5, [b"e"])
    window.put(4, results(5))
    assert (taken(window), len(window), window.numbers()) == ([], 4, [1, 2, 3, 5])
    window.put(1, results(2, 3))
    window.put(0, [Error("no")])
    assert [(block.number, len(block), block.size) for block in taken(window)] == [
        (1, 1, 2),
        (2, 2, 4),
        (4, 1, 3),
        (5, 1, 2),
    ]
    assert (len(window), window.numbers()) == (0, [])


async def test_unordered_blocks_leave_when_they_are_ready() -> None:
    """The lines before them stay inside."""
    window = BlockWindow(100, 1000, ordered=False)
    await window.enter(1, [b"a", b"b", b"c"])
    window.put(1, results(2))
    assert [block.number for block in taken(window)] == [2]
    assert window.numbers() == [1, 3]


async def test_as_many_lines_enter_as_there_is_room_for() -> None:
    """Lines and bytes are limited; a line that is longer than the limit enters alone."""
    window = BlockWindow(3, 10, ordered=True)
    assert await window.enter(1, [b"a", b"b", b"c", b"d"]) == [b"a", b"b", b"c"]
    window.put(0, results(1, 2, 3))
    taken(window)
    assert await window.enter(4, [b"1234", b"1234", b"1234"]) == [b"1234", b"1234"]
    window.put(3, results(4, 5))
    taken(window)
    assert await window.enter(6, [b"x" * 50, b"y"]) == [b"x" * 50]
    window.withdraw()
    assert await window.enter(6, [b"y"]) == [b"y"]


async def test_window_ends_when_it_is_closed_and_empty() -> None:
    """wait() says so."""
    window = BlockWindow(3, 10, ordered=True)
    await window.enter(1, [b"a"])
    window.close()
    window.put(0, results(1))
    assert await window.wait()
    taken(window)
    assert not await window.wait()
