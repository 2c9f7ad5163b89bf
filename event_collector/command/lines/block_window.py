"""The window of blocks of lines that were read and are not yet written, and the order in which they leave it.

It bounds the memory as `LineWindow` does, for lines that go to workers many in one job. All methods run in the thread
of the event loop.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from event_collector.calls.chunk_stream import OrderedBlocks, UnorderedBlocks
from event_collector.calls.stream import Signal
from event_collector.command.tally import RunOutput
from event_collector.tiers.workers.line_codec import LineResults
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error, Result

MOST_AT_ONCE = 4096  # lines that enter together, before other tasks have their turn


class FinishedLines:
    """Consecutive lines whose results are there: lines that succeeded, or one that did not."""

    __slots__ = ("events", "number", "outcome", "size")

    is_replayed = False

    def __init__(self, number: int, outcome: LineResults | Result[Any], events: int, size: int) -> None:
        self.number, self.outcome, self.events = number, outcome, events
        self.size = size
        """Bytes of input."""

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.outcome) if isinstance(self.outcome, LineResults) else 1

    def encode(self, output: RunOutput) -> tuple[bytes, bool]:
        """Return the lines to write, and whether there is an error among them."""
        if isinstance(self.outcome, LineResults):
            return self.outcome.data, False
        return output.encode_result(self.number, self.outcome)

    def was_given_up(self) -> bool:
        """Return whether the queue ended before the line was processed."""
        return isinstance(self.outcome, Error) and isinstance(self.outcome.err, QueueShutDown)


class _Run:
    """Consecutive lines inside; None in the place of those that are empty or have left."""

    __slots__ = ("first", "left", "lines")

    def __init__(self, first: int, lines: list[bytes | None]) -> None:
        self.first, self.lines, self.left = first, lines, len(lines)

    def remove(self, at: int, count: int) -> None:
        """Note that lines have left."""
        self.lines[at : at + count] = [None] * count
        self.left -= count


class BlockWindow:
    """The lines that were read and are not yet written. They leave in input order if `ordered`, else when ready.

    At most `max_bytes` bytes of input are inside at once; a longer line enters an empty window. It is the sink of a
    `ChunkFeed`: the place of a line there is its number, less 1.

    Attributes:
        max_lines: the number of lines inside, at most.
    """

    def __init__(self, max_lines: int, max_bytes: int, *, ordered: bool) -> None:
        self.max_lines, self._max_bytes = max_lines, max_bytes
        self._runs: list[_Run] = []  # in input order
        self._lines = self._bytes = self._empty = 0
        self._is_closed = False
        self._room = Signal()  # the intake waits for it
        self._news = Signal()  # the output waits for it
        self._ready: OrderedBlocks[FinishedLines] | UnorderedBlocks[FinishedLines]
        self._ready = OrderedBlocks(self._news) if ordered else UnorderedBlocks(self._news)

    def widen(self, max_lines: int) -> None:
        """Have room for at least so many lines."""
        self.max_lines = max(self.max_lines, max_lines)

    async def enter(self, number: int, lines: list[bytes]) -> list[bytes]:
        """Wait for room, add the first of these lines, as many as there is room for, and return them."""
        while not (fitting := self._fitting(lines)):
            await self._room.wait()
        self._add(number, [*fitting], sum(map(len, fitting)) + len(fitting))
        return fitting

    async def enter_without_event(self, number: int, size: int, error: Exception | None) -> None:
        """Wait for room, and add a line that is ready at once: with this error, or empty."""
        while not self._fitting([b""]):
            await self._room.wait()
        self._add(number, [None if error is None else b""], size)
        self._empty += error is None
        outcome = LineResults(b"", 1) if error is None else Error(error)
        self._ready.put(number - 1, FinishedLines(number, outcome, int(error is not None), size))

    def _fitting(self, lines: list[bytes]) -> list[bytes]:
        fitting = lines[: max(0, min(self.max_lines - self._lines, MOST_AT_ONCE))]
        room = self._max_bytes - self._bytes
        if sum(map(len, fitting)) + len(fitting) > room:
            ends = accumulate(len(line) + 1 for line in fitting)
            fitting = fitting[: sum(1 for end in ends if end <= room)]
        return fitting if fitting or self._lines else lines[:1]

    def _add(self, number: int, lines: list[bytes | None], size: int) -> None:
        self._runs.append(_Run(number - 1, lines))
        self._lines += len(lines)
        self._bytes += size

    def withdraw(self) -> None:
        """Remove the lines that have entered last, which no worker gets."""
        lines = self._runs.pop().lines
        self._lines -= len(lines)
        self._bytes -= sum(len(line or b"") + 1 for line in lines)

    def put(self, index: int, results: LineResults | list[Result[Any]], /) -> None:
        """Take results of lines, the first one at this place."""
        if isinstance(results, LineResults):
            self._ready.put(index, self._finished(index, results, len(results)))
            return
        for at, result in enumerate(results, index):
            self._ready.put(at, self._finished(at, result, 1))

    def _finished(self, index: int, outcome: LineResults | Result[Any], count: int) -> FinishedLines:
        run = self._run_of(index)
        lines = run.lines[index - run.first : index - run.first + count]
        while len(lines) < count:  # a chunk may have lines that were read at different times
            run = self._run_of(index + len(lines))
            lines += run.lines[: count - len(lines)]
        return FinishedLines(index + 1, outcome, count, sum(map(len, lines)) + count)  # type: ignore[arg-type]

    def _run_of(self, index: int) -> _Run:
        return self._runs[bisect_right(self._runs, index, key=_first) - 1]

    async def wait(self) -> bool:
        """Wait until lines can leave; return False when the window is closed and empty."""
        while not self._ready.has_next():
            if self._is_closed and not self._lines:
                return False
            await self._news.wait()
        return True

    def take(self) -> FinishedLines | None:
        """Return the next lines to leave; None if there are none, or they are not ready."""
        return self._ready.pop()

    def leave(self, blocks: Iterable[FinishedLines]) -> None:
        """Remove lines whose output is written, which makes room."""
        for block in blocks:
            self._bytes -= block.size
            self._empty -= not block.events
            index, left = block.number - 1, len(block)
            self._lines -= left
            while left:
                run = self._run_of(index)
                at = index - run.first
                count = min(left, len(run.lines) - at)
                run.remove(at, count)
                if not run.left:
                    self._runs.remove(run)
                index, left = index + count, left - count
        self._room.set()
        if not self._lines:
            self._news.set()

    def close(self) -> None:
        """Note that no more lines will enter."""
        self._is_closed = True
        self._news.set()

    def numbers(self) -> list[int]:
        """Return the numbers of the lines inside that are not empty, in input order."""
        return [
            number for run in self._runs for number, line in enumerate(run.lines, run.first + 1) if line is not None
        ]

    def __len__(self) -> int:
        """Return the number of lines inside that are not empty."""
        return self._lines - self._empty


def _first(run: _Run) -> int:
    return run.first
