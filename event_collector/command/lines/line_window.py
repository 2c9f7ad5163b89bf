"""The window of lines that were read and are not yet written, and the order in which they leave it.

    intake --enter()--> [ in the queue, in handlers ] --> ready --take()--> output --leave()-->

The window bounds the memory of the command: the intake waits for room, so endless input is read no faster than its
output is written. All methods run in the thread of the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from event_collector.events.event import CollectorEvent
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error

if TYPE_CHECKING:
    from event_collector.command.tally import RunOutput


class PendingLine:
    """One line of input until its output is written."""

    events = 1

    __slots__ = ("_window", "error", "event", "is_ready", "is_replayed", "number", "record", "size")

    def __init__(self, window: "LineWindow", number: int | None, size: int, *, is_replayed: bool = False) -> None:
        self._window = window
        self.number = number
        """Number of the line; None for a replayed event that was not a line."""
        self.size = size
        self.is_replayed = is_replayed
        """Whether the line belongs to an earlier run."""
        self.event: CollectorEvent | None = None
        self.error: Exception | None = None
        """The reason why there is no event."""
        self.record: int | None = None
        """Id in the journal of a line without an event."""
        self.is_ready = False

    def refuse(self, error: Exception, record: int | None = None) -> None:
        """Note that the line cannot become an event; `record` is its id in the journal."""
        self.error, self.record = error, record
        self._be_ready()

    def attach(self, event: CollectorEvent) -> None:
        """Note the event of the line. The line is ready when the event is done."""
        self.event = event
        if event.is_done():
            self._be_ready()
        else:
            event.on_done(self._be_ready)

    def _be_ready(self, _event: CollectorEvent | None = None) -> None:
        self.is_ready = True
        self._window.let_leave(self)

    def encode(self, output: "RunOutput") -> tuple[bytes, bool]:
        """Return the line to write, and whether the event failed."""
        return output.encode(self.number, self.event, self.error, replayed=self.is_replayed)

    def was_given_up(self) -> bool:
        """Return whether the queue ended before the line was processed."""
        results = () if self.event is None else self.event.get_result() or ()
        errors = [self.error, *(result.err for result in results if isinstance(result, Error))]
        return any(isinstance(error, QueueShutDown) for error in errors)


class LineWindow:
    """The lines that were read and are not yet written. They leave in input order if `ordered`, else when ready.

    At most `max_lines` lines with `max_bytes` bytes of input are inside at once; a longer line enters an empty window.
    """

    def __init__(self, max_lines: int, max_bytes: int, *, ordered: bool) -> None:
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._inside: dict[PendingLine, None] = {}  # in input order
        # In the order of leaving; unordered: only lines that are ready.
        self._leaving: deque[PendingLine] = deque()
        self._ordered = ordered
        self._bytes = 0
        self._closed = False
        self._room = asyncio.Event()  # the intake waits for it
        self._news = asyncio.Event()  # the output waits for it

    async def enter(self, number: int, size: int) -> PendingLine:
        """Wait for room and add a line."""
        while self._inside and (len(self._inside) >= self._max_lines or self._bytes + size > self._max_bytes):
            self._room.clear()
            await self._room.wait()
        return self._add(PendingLine(self, number, size))

    def replay(self, event: CollectorEvent) -> None:
        """Add the line of an event of an earlier run, without regard to room: the queue has its event already."""
        self._add(PendingLine(self, event.payload._headers.origin, 0, is_replayed=True)).attach(event)

    def replay_refused(self, number: int | None, error: Exception, record: int) -> None:
        """Add a line that an earlier run has refused, and its id in the journal."""
        self._add(PendingLine(self, number, 0, is_replayed=True)).refuse(error, record)

    def _add(self, line: PendingLine) -> PendingLine:
        self._inside[line] = None
        self._bytes += line.size
        if self._ordered:
            self._leaving.append(line)
        return line

    def withdraw(self, line: PendingLine) -> None:
        """Remove the last line, which has neither an event nor an error."""
        if self._ordered:
            self._leaving.remove(line)
        self.leave([line])

    def let_leave(self, line: PendingLine) -> None:
        """Let a line that is ready leave as soon as it is its turn."""
        if not self._ordered:
            self._leaving.append(line)
        if self._leaving[0] is line:
            self._news.set()

    async def wait(self) -> bool:
        """Wait until a line can leave; return False when the window is closed and empty."""
        while not self._has_next():
            if self._closed and not self._inside:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def take(self) -> PendingLine | None:
        """Return the next line to leave; None if there is none, or it is not ready."""
        return self._leaving.popleft() if self._has_next() else None

    def _has_next(self) -> bool:
        return bool(self._leaving) and self._leaving[0].is_ready

    def leave(self, lines: Iterable[PendingLine]) -> None:
        """Remove lines whose output is written, which makes room."""
        for line in lines:
            del self._inside[line]
            self._bytes -= line.size
        self._room.set()
        if not self._inside:
            self._news.set()

    def close(self) -> None:
        """Note that no more lines will enter."""
        self._closed = True
        self._news.set()

    def numbers(self) -> list[int]:
        """Return the numbers of this run's lines inside, in input order."""
        return [line.number for line in self._inside if line.number is not None and not line.is_replayed]

    def last_number(self) -> int:
        """Return the highest line number inside, replayed lines included; 0 if there is none."""
        return max((line.number or 0 for line in self._inside), default=0)

    def __len__(self) -> int:
        """Return the number of lines inside, replayed ones included."""
        return len(self._inside)
