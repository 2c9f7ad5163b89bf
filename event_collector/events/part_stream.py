"""The parts of one event, between the handler that yields them and the reader of `event.parts()`.

    handler --add()--> at most PARTS_AHEAD parts --take()--> reader
       ^                                              |
       '------------- on_change(): room again --------'

A stream is made by the first of both. It is a waiter of its event, so it notices the end, and that somebody waits for
the event without reading. It does not refer to the event: the context of the handler has the stream, and outlives both.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from event_collector.handlers.parts import REFILL
from event_collector.values.errors import ConfigError
from event_collector_workers.job import PARTS_AHEAD


class PartStream:
    """Holds the parts that are not read yet.

    A reader gets all parts, or an error. If none has come, but somebody waits for the event when the stream is full,
    its parts are dropped from the first one on, so that the event can end.

    Attributes:
        producer: the key of the collector that gives the parts; None until its handler has begun.
        count: parts that the handler has given, read or not.
    """

    __slots__ = ("_has_reader", "_has_waiter", "_is_dropping", "_is_left", "_news", "_on_change", "_parts", "count",
                 "producer")  # fmt: skip

    def __init__(self) -> None:
        self.producer: str | None = None
        self.count = 0
        self._parts: deque[Any] = deque()
        self._has_reader = self._has_waiter = self._is_dropping = self._is_left = False
        self._news: asyncio.Future[None] | None = None  # of a reader that waits
        self._on_change: Callable[[], None] | None = None

    # The handler's side

    def open(self, key: str) -> None:
        """Note which collector gives the parts. Raise ConfigError if it is not the first."""
        if self.producer not in (None, key):
            raise ConfigError(
                f"collector {key!r}: collector {self.producer!r} gives the parts of this event: send it to one "
                f"collector that yields, with Delivery.KEY or queue.submit()"
            )
        self.producer = key

    @property
    def room(self) -> int:
        """How many parts may be added now; 0: the handler has to wait."""
        return PARTS_AHEAD if self._is_dropping else max(0, PARTS_AHEAD - len(self._parts))

    @property
    def is_left(self) -> bool:
        """Whether the parts are of no use any more: the reader has left, or the event has ended."""
        return self._is_left

    def add(self, part: Any) -> None:
        """Take a part. It is dropped if nobody will read it."""
        self.count += 1
        if self._is_left or self._is_dropping:
            return
        self._parts.append(part)
        self._wake_reader()
        self._drop_if_unread()

    def on_change(self, call: Callable[[], None] | None) -> None:
        """Have `call` called when there is room again, or the reader has left; None: no longer."""
        self._on_change = call

    def _tell_handler(self) -> None:
        if self._on_change is not None:
            self._on_change()

    # The reader's side

    def enter(self) -> None:
        """Begin to read.

        Raises:
            ConfigError: there is a reader already, or there was one, or parts were dropped.
        """
        if self._has_reader:
            raise ConfigError("the parts of this event have a reader already: they can be read once")
        if self._is_dropping:
            raise ConfigError(
                "the parts of this event were dropped, since something waited for the event and nothing read its "
                "parts: begin to read event.parts() before event.wait() or event.value()"
            )
        self._has_reader = True

    def leave(self) -> None:
        """End to read. The handler is closed if it has not ended."""
        if not self._is_left:
            self._is_left = True
            self._parts.clear()
            self._tell_handler()

    def take(self) -> Any:
        """Remove and return the oldest part."""
        part = self._parts.popleft()
        if self.room == REFILL:
            self._tell_handler()
        return part

    def news(self) -> "asyncio.Future[None]":
        """Return a future that is done when there are parts, or the event has ended."""
        self._news = asyncio.get_running_loop().create_future()
        return self._news

    def _wake_reader(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def __len__(self) -> int:
        return len(self._parts)

    # As a waiter of the event

    def note_waiter(self) -> None:
        """Note that something waits for the event."""
        self._has_waiter = True
        self._drop_if_unread()

    def _drop_if_unread(self) -> None:
        if self._has_waiter and not self._has_reader and not self.room:
            self._is_dropping = True
            self._parts.clear()
            self._tell_handler()

    def done(self) -> bool:
        """Return False: it wants to know when the event ends."""
        return False

    def set_result(self, _result: None, /) -> None:
        """Note that the event has ended. Parts that it has given can still be read."""
        self._is_left = True
        self._wake_reader()
        self._tell_handler()

    def __repr__(self) -> str:
        state = "dropping" if self._is_dropping else "left" if self._is_left else "open"
        return f"<PartStream of {self.producer!r} {state} {len(self)} unread of {self.count}>"
