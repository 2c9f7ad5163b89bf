"""A source in memory, and what tests of sources share."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from event_collector import Collector, CollectorQueue, Context, Payload, SourceError
from event_collector.sources import Message, Source

AnySource = TypeVar("AnySource", bound=Source)

BOUND = 30.0
"""Seconds after which a wait counts as a hang."""


def tell_of_message(payload: Payload[Any], ctx: Context) -> Any:
    """Answer what a handler is told of the message."""
    return payload.message_id, payload.attempt


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.005)


def queue_of(processor: Any, **options: Any) -> CollectorQueue:
    """Return a queue of one handler."""
    return CollectorQueue([Collector("only", processor)], logging=False, **options)


@asynccontextmanager
async def opened(source: AnySource) -> AsyncIterator[AnySource]:
    """Have a source open for as long as the context lasts."""
    await source.open()
    try:
        yield source
    finally:
        await source.close()


async def fetch(source: Source, most: int = 10) -> list[Message]:
    """Fetch until messages come."""
    async with asyncio.timeout(BOUND):
        while not (messages := await source.fetch(most)):
            pass
        return list(messages)


class SampleSource:
    """What a broker is to a feed.

    Args:
        values: what the messages say, as JSON.
        hold: seconds for which messages are held.
        patience: seconds for which a fetch waits for the first message.
    """

    def __init__(self, values: Sequence[Any] = (), hold: float = 3600.0, patience: float = 0.02) -> None:
        self.name, self.hold, self._patience = "sample", hold, patience
        self.is_waiting = False
        """Whether a fetch waits."""
        self.waiting = [make(number, value) for number, value in enumerate(values, 1)]
        self.asked: list[int] = []
        self.told: list[tuple[str, str]] = []
        """What became of messages: the word and the place, in this order."""
        self.delays: dict[str, float] = {}
        self.reasons: dict[str, tuple[str, str]] = {}
        self.extended: Counter[str] = Counter()
        self.opened = self.handed_back = self.closed = False
        self.failing: set[str] = set()
        """The names of methods that raise SourceError."""
        self._news = asyncio.Event()

    def add(self, *messages: Message) -> None:
        """Publish these."""
        self.waiting += messages
        self._news.set()

    async def open(self) -> None:
        self._fail("open")
        self.opened = True

    async def fetch(self, most: int) -> Sequence[Message]:
        self._fail("fetch")
        assert most >= 1
        self.asked.append(most)
        if not self.waiting:
            self._news.clear()
            self.is_waiting = True
            try:
                async with asyncio.timeout(self._patience):
                    await self._news.wait()
            except TimeoutError:
                return []
            finally:
                self.is_waiting = False
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    async def extend(self, messages: Sequence[Message]) -> None:
        self._fail("extend")
        self.extended.update(message.place for message in messages)

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        self._fail("acknowledge")
        self.told += [("acknowledged", message.place) for message in messages]

    async def retry(self, message: Message, delay: float) -> None:
        self._fail("retry")
        self.told.append(("retried", message.place))
        self.delays[message.place] = delay

    async def bury(self, message: Message, reason: str, error: str) -> None:
        self._fail("bury")
        self.told.append(("buried", message.place))
        self.reasons[message.place] = (reason, error)

    def interrupt(self) -> None:
        self._news.set()

    async def hand_back(self) -> None:
        self._fail("hand_back")
        self.handed_back = True

    async def close(self) -> None:
        self.closed = True

    def _fail(self, method: str) -> None:
        if method in self.failing:
            raise SourceError(f"no {method} today")


def make(number: int, value: Any, *, deliveries: int = 1, id_: str | None = None, born: str = "") -> Message:
    """Return a message."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Message(id=id_ or str(number), place=str(number), data=data, deliveries=deliveries, born=born)
