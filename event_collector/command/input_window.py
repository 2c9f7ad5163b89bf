"""The window: the lines that were read and are not yet written out, and in which order they leave.

    intake --enter()--> [ in the queue, in handlers ] --> ready --take()--> outlet --leave()-->

It bounds the memory of the command: the intake waits for room, so an endless input is read no faster than its
output is written. Everything here happens in the thread of the event loop.
"""

import asyncio
from collections import deque

from event_collector.events.event import CollectorEvent

__all__ = ["Entry", "Window"]


class Entry:
    """One line of input on its way to its line of output; as a waiter of its event it hears of the end."""

    __slots__ = ("_window", "error", "event", "number", "ready", "replayed", "size")

    def __init__(self, window: "Window", number: int | None, size: int, *, replayed: bool = False) -> None:
        self._window = window
        self.number = number
        """Of its line; None for an event that was no line."""
        self.size = size
        self.replayed = replayed
        """Whether it is a line of an earlier run."""
        self.event: CollectorEvent | None = None
        self.error: Exception | None = None
        """Why there is no event."""
        self.ready = False

    def refused(self, error: Exception) -> None:
        """The line cannot become an event."""
        self.error = error
        self._window.answered(self)

    def sent(self, event: CollectorEvent) -> None:
        """The line became an event."""
        self.event = event
        if event.is_done():
            self._window.answered(self)
        else:
            event.add_waiter(self)

    def done(self) -> bool:
        """Return False: it wants to hear of the event's end."""
        return False

    def set_result(self, _result: None, /) -> None:
        """The event is done."""
        self._window.answered(self)


class Window:
    """Lines in the works.

    Args:
        max_lines: how many there may be.
        max_bytes: how many bytes of input they may be; a longer line goes through alone.
        ordered: whether they leave in the order in which they came, or as they are ready.

    """

    def __init__(self, max_lines: int, max_bytes: int, *, ordered: bool) -> None:
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._inside: dict[Entry, None] = {}  # in input order
        self._line: deque[Entry] = deque()  # in the order of leaving; unordered: those that are ready
        self._ordered = ordered
        self._bytes = 0
        self._closed = False
        self._room: asyncio.Future[None] | None = None  # what the intake waits for
        self._news: asyncio.Future[None] | None = None  # what the outlet waits for

    async def enter(self, number: int, size: int) -> Entry:
        """Wait for room and return the entry of a line, in the works from now on."""
        while self._inside and (len(self._inside) >= self._max_lines or self._bytes + size > self._max_bytes):
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        return self._add(Entry(self, number, size))

    def replay(self, number: int | None) -> Entry:
        """Return the entry of a line of an earlier run, which is in the works already, whatever room there is."""
        return self._add(Entry(self, number, 0, replayed=True))

    def _add(self, entry: Entry) -> Entry:
        self._inside[entry] = None
        self._bytes += entry.size
        if self._ordered:
            self._line.append(entry)
        return entry

    def withdraw(self, entry: Entry) -> None:
        """Forget an entry that was neither sent nor refused: it is the last one."""
        if self._ordered:
            self._line.remove(entry)
        self.leave([entry])

    def answered(self, entry: Entry) -> None:
        """The output of an entry can be written, as soon as it is its turn."""
        entry.ready = True
        if not self._ordered:
            self._line.append(entry)
        if self._line[0] is entry:
            _wake(self._news)

    async def wait(self) -> bool:
        """Wait for an entry whose turn it is; return False when the window is closed and empty."""
        while not self._has_next():
            if self._closed and not self._inside:
                return False
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return True

    def take(self) -> Entry | None:
        """Return the entry whose turn it is; None when that is not ready, or there is none."""
        return self._line.popleft() if self._has_next() else None

    def _has_next(self) -> bool:
        return bool(self._line) and self._line[0].ready

    def leave(self, entries: list[Entry]) -> None:
        """The entries are written: there is room for others."""
        for entry in entries:
            del self._inside[entry]
            self._bytes -= entry.size
        _wake(self._room)
        if not self._inside:
            _wake(self._news)

    def close(self) -> None:
        """No line will enter any more."""
        self._closed = True
        _wake(self._news)

    def numbers(self) -> list[int]:
        """Return the numbers of the lines of this run inside, in their order."""
        return [entry.number for entry in self._inside if entry.number is not None and not entry.replayed]

    def __len__(self) -> int:
        """Return how many lines are inside, those of earlier runs among them."""
        return len(self._inside)


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
