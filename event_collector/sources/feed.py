"""A feed: messages of a source become events of a queue, and the source is told what became of each.

    source --fetch()--> held --send()--> queue --> results --settle()--> acknowledge, retry, bury
                         |                                                   |
                         '--extend(), until it is settled                    '--> on_finished()

Three tasks do it. The *intake* fetches no more than there is room for, and sends; the *settler* tells the source; the
*heart* extends what is held. What is held, and what became of the rest, is in the ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from random import random
from time import monotonic
from typing import Any, Final

from event_collector.handlers.retry import Retry
from event_collector.life.logger import make_logger
from event_collector.queue import CollectorQueue
from event_collector.remote.remote_exceptions import error_text
from event_collector.sources.ledger import FeedCounts, Finished, Held, Ledger
from event_collector.sources.pace import Pace
from event_collector.sources.payloads import JsonPayloads, from_message
from event_collector.sources.settlement import LOST, MALFORMED, Fate, Settlement, settle
from event_collector.sources.source import PATIENCE, Message, Source
from event_collector.values.errors import ConfigError, SourceError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import ResultList

__all__ = ["Feed", "FeedCounts", "Finished"]

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
PAUSE: Final = 0.5
"""Seconds between two attempts to reach a source that has gone."""
GLANCE: Final = 0.05
"""Seconds between two looks at a queue that has no room: events that begin make room, and tell nobody."""
BEATS: Final = 3
"""How often a message is extended within the time for which it is held: two may be missed."""


class Feed:
    """Feeds the messages of a source to a queue.

    A message is acknowledged when the handlers of its event have succeeded. One that fails is delivered again, after a
    while, to whichever program is free; after `retry.max_attempts` deliveries, or at an error that `retry` does not
    retry, it becomes a dead letter of the source. A collector with `retry=` has made its attempts by then, here: its
    error is final.

    Args:
        queue: a queue that runs. It needs no journal: with one, what its end gives up runs twice.
        source: where messages come from; the feed opens and closes it.
        retry: how often a message is delivered, and when; five times if not given. What a delivery ended with counts
            for nothing: one of a program that was killed is a delivery, too.
        max_in_flight: messages that are fetched and not settled at most, at least 1. Fewer are fetched where the queue
            has less room (but one), or where others may be free for them: no more wait for a handler than are settled
            in a quarter of a second, or a quarter of those in handlers, or two.
        max_bytes: bytes of data that these hold at most, about: the next message may exceed it.
        max_deliveries: a message that was delivered more often, and never settled, becomes a dead letter unseen: it may
            be the one that kills the programs that have it.
        to_payload: makes a payload of a message; what it raises makes a dead letter, "malformed". By default the data
            is JSON, of the type that all collectors ask for, of 16 MiB at most.
        duplicate_window: seconds for which the id of a message that is done with is remembered: when it is delivered
            again, it is acknowledged and not run. 0 for not at all.
        on_finished: is awaited with messages that are done with, before the source is told: what has to be saved first.
            What it raises ends the feed; these messages are delivered again.
        log: a structlog logger to use instead of one of its own.

    Raises:
        ConfigError: a value is out of its range.
        UnknownType: JSON cannot be decoded into what the collectors ask for.

    """

    def __init__(
        self,
        queue: CollectorQueue,
        source: Source,
        *,
        retry: Retry | None = None,
        max_in_flight: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_deliveries: int = 20,
        to_payload: Callable[[Message], Payload[Any]] | None = None,
        duplicate_window: float = 120.0,
        on_finished: Callable[[Sequence[Finished]], Awaitable[None]] | None = None,
        log: Any = None,
    ) -> None:
        _at_least(1, max_in_flight=max_in_flight, max_bytes=max_bytes, max_deliveries=max_deliveries)
        _at_least(0, duplicate_window=duplicate_window)
        self._queue, self._source = queue, source
        self._policy = Retry(max_attempts=5) if retry is None else retry
        self._max_in_flight, self._max_bytes, self._max_deliveries = max_in_flight, max_bytes, max_deliveries
        self._to_payload = to_payload or JsonPayloads(queue.collectors.values(), MAX_MESSAGE_BYTES)
        self._ledger = Ledger(duplicate_window, self._done)
        self._on_finished = on_finished
        self._log = make_logger(f"Feed {source.name}") if log is None else log
        self._retried_here = frozenset(key for key, c in queue.collectors.items() if c.retry is not None)
        self._mean_size = 1.0
        self._pace = Pace()
        self._finished: list[Held] = []
        self._intake: asyncio.Task[None] | None = None
        self._sending = False  # written by the intake: whether it waits for the queue, and not for the source
        self._stopping = False
        self._is_lost = False  # written by the intake: whether the source gave no answer
        self._is_deaf = False  # whether it could not be told something
        self._owed: list[Message] = []  # acknowledgements that it did not hear; written by the settler
        self._taken_in = False  # written by the intake: it has ended
        self._last_retry = 0.0  # when the last message that this feed has failed is delivered again
        self._news = asyncio.Event()  # for the settler
        self._room = asyncio.Event()  # for the intake

    def counts(self) -> FeedCounts:
        """Return what became of the messages, until now."""
        return self._ledger.counts()

    async def run(self, *, until_empty: bool = False) -> None:
        """Open the source and feed the queue until `stop()`, or until the queue's shutdown begins; then close.

        What is in the queue then is settled before it returns. Where the source cannot be reached it is asked again and
        again, with a word in the log. Cancelled, it gives the messages back at once: handlers go on, and what they do
        is done again elsewhere.

        Args:
            until_empty: also end when all messages are settled and no more come.

        Raises:
            SourceError: the source cannot be opened.
            Exception: what `on_finished` raised.

        """
        if self._intake is not None:
            raise ConfigError("a feed runs once: make another one")
        await self._source.open()
        self._intake = asyncio.create_task(self._take_in(until_empty), name="feed intake")
        settler = asyncio.create_task(self._settle(), name="feed settler")
        heart = asyncio.create_task(self._beat(), name="feed heart")
        try:
            await asyncio.wait({settler, heart}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(self._intake, settler, heart)
            await self._leave()
        for task in (settler, heart, self._intake):
            if not task.cancelled():
                task.result()

    def stop(self) -> None:
        """Fetch no more; `run()` returns when what is in the queue is settled."""
        self._stopping = True
        self._room.set()
        self._source.interrupt()
        if self._sending and self._intake is not None:
            self._intake.cancel()

    # Intake

    async def _take_in(self, until_empty: bool) -> None:
        try:
            while not self._stopping:
                most = self._wanted()
                if not most:
                    await self._pause(GLANCE)
                    continue
                messages = await self._fetch(most)
                if until_empty and not messages and not self._ledger.held and monotonic() > self._last_retry:
                    return
                await self._send_all(await self._hold(messages))
        except QueueShutDown:
            return
        finally:
            try:
                await self._source.hand_back()  # before much is released, which would come here again
            except SourceError as exc:
                self._warn(exc)
            finally:
                self._taken_in = True
                self._news.set()

    def _wanted(self) -> int:
        """Return how many messages there is room for."""
        room = max(1.0, self._queue.room())
        by_size = (self._max_bytes - self._ledger.bytes) / self._mean_size
        account = self._queue.accounting()
        ahead = self._pace.ahead(monotonic(), account.in_handlers) - account.queued
        wanted = min(self._max_in_flight - len(self._ledger.held), room, by_size, ahead)
        return max(int(wanted), 0 if self._ledger.held else 1)

    async def _fetch(self, most: int) -> Sequence[Message]:
        try:
            messages = await self._source.fetch(most)
            if self._is_lost and messages:
                self._is_lost = False
                self._log.warning("the source gives messages again")
            return messages
        except SourceError as exc:
            if not self._is_lost:
                self._is_lost = True
                self._log.warning("the source gives no messages; it is asked again", reason=str(exc))
            await self._pause(PAUSE)
            return ()

    async def _pause(self, seconds: float) -> None:
        """Wait until messages are settled, or the feed is to end, but no longer than so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _next(self._room)

    async def _hold(self, messages: Sequence[Message]) -> list[Held]:
        """Take these into the works, and return those that are to run."""
        for message in messages:
            self._mean_size += (len(message.data) - self._mean_size) / 16
        fresh, duplicates = self._ledger.enter(messages, monotonic())
        if duplicates:
            await self._acknowledge(duplicates, "duplicates")
        return fresh

    async def _send_all(self, fresh: list[Held]) -> None:
        waiting = iter(fresh)
        try:
            for held in waiting:
                if self._stopping:
                    held.settled(Settlement(Fate.RELEASED))
                else:
                    await self._send(held)
        except BaseException:  # no more is accepted, or wanted
            for held in waiting:
                held.settled(Settlement(Fate.RELEASED))
            raise

    async def _send(self, held: Held) -> None:
        message = held.message
        if message.deliveries > self._max_deliveries:
            text = f"delivered {message.deliveries} times, and nobody has told what became of it"
            held.settled(Settlement(Fate.BURIED, 0.0, LOST, text), SourceError(text))
            return
        try:
            payload = from_message(self._to_payload, message)
        except Exception as exc:
            held.settled(Settlement(Fate.BURIED, 0.0, MALFORMED, error_text(exc)), exc)
            return
        self._sending = True
        try:
            held.sent(await self._queue.get_publisher().send(payload))
        except (QueueShutDown, asyncio.CancelledError):
            held.settled(Settlement(Fate.RELEASED))
            raise
        except Exception as exc:  # a journal that cannot be written
            delay = self._policy.delay(message.deliveries, random())
            held.settled(Settlement(Fate.RETRIED, delay, error=error_text(exc)))
        finally:
            self._sending = False

    # Settlement

    def _done(self, held: Held) -> None:
        self._finished.append(held)
        self._news.set()

    async def _settle(self) -> None:
        while self._ledger.held or not self._taken_in:
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE if self._owed else None):
                    await _next(self._news)
            done, self._finished = self._finished, []
            finished = [self._judge(held) for held in done]
            final = [one for one in finished if one.settlement.fate in (Fate.ACKNOWLEDGED, Fate.BURIED)]
            if final and self._on_finished is not None:
                await self._on_finished(final)
            await self._tell(finished)
            self._pace.note(len(finished), monotonic())
            self._room.set()

    def _judge(self, held: Held) -> Finished:
        message, settlement = held.message, held.settlement
        results = None if held.event is None else held.event.get_result()
        if settlement is None:
            settlement = settle(
                results or ResultList(), message.deliveries, self._policy,
                retried_here=self._retried_here, chance=random(),
            )  # fmt: skip
        if settlement.fate is Fate.RETRIED:
            self._last_retry = max(self._last_retry, monotonic() + settlement.delay + PATIENCE)
        return Finished(message, settlement, held.event, held.error)

    async def _tell(self, finished: Iterable[Finished]) -> None:
        """Tell the source of each; what is done with is not run again when it comes again."""
        acknowledged, others, now = [], [], monotonic()
        for one in finished:
            if one.settlement.fate is Fate.ACKNOWLEDGED:
                acknowledged.append(one.message)
                self._ledger.remember(one.message, now)
            else:
                others.append(self._tell_of_failure(one))
        owed, self._owed = self._owed + acknowledged, []
        if owed:
            others.append(self._acknowledge(owed, "acknowledged"))
        await asyncio.gather(*others)

    async def _acknowledge(self, messages: list[Message], counted_as: str) -> None:
        try:
            await self._source.acknowledge(messages)
        except SourceError as exc:
            if counted_as == "acknowledged" and not self._taken_in:
                self._owed += messages  # they stay held, and the source is told again
                self._warn(exc)
            else:
                self._not_told(messages, exc)
        else:
            self._is_deaf = False
            self._ledger.told(messages, counted_as)

    async def _tell_of_failure(self, one: Finished) -> None:
        message, (fate, delay, reason, error) = one.message, one.settlement
        try:
            if fate is Fate.BURIED:
                await self._source.bury(message, reason, error)
                self._ledger.remember(message, monotonic())
                self._log.warning(
                    "a message has failed for good",
                    place=message.place,
                    deliveries=message.deliveries,
                    reason=reason,
                )
            else:
                await self._source.retry(message, delay)
        except SourceError as exc:
            self._not_told([message], exc)
        else:
            self._is_deaf = False
            self._ledger.told([message], fate.value)

    def _not_told(self, messages: Sequence[Message], exc: SourceError) -> None:
        self._ledger.told(messages, "unsettled")
        self._warn(exc)

    def _warn(self, exc: SourceError) -> None:
        """Say once that the source does not hear what it is told, until it does."""
        if not self._is_deaf:
            self._log.warning("the source cannot be told; messages may be delivered again", reason=str(exc))
        self._is_deaf = True

    # Heart

    async def _beat(self) -> None:
        """Extend what is held, well before the source takes this program for dead."""
        interval = self._source.hold / BEATS
        while True:
            await asyncio.sleep(interval)
            now = monotonic()
            due = [held for held in self._ledger.held.values() if now - held.touched >= interval / 2]
            if not due:
                continue
            try:
                await self._source.extend([held.message for held in due])
            except SourceError as exc:
                self._warn(exc)
            else:
                for held in due:
                    held.touched = now

    async def _leave(self) -> None:
        """Give back what is still held, and close the source."""
        left = [Finished(held.message, Settlement(Fate.RELEASED)) for held in self._ledger.held.values()]
        try:
            await asyncio.gather(*map(self._tell_of_failure, left))
        finally:
            await self._source.close()

    def __repr__(self) -> str:
        return f"<Feed {self._source.name} {self.counts()}>"


async def _next(event: asyncio.Event) -> None:
    """Wait until the event is set, and have it clear again."""
    await event.wait()
    event.clear()


async def _end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _at_least(least: int, **values: float) -> None:
    for name, value in values.items():
        given: Any = value
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not given >= least:
            raise ConfigError(f"Feed({name}=...) takes a number from {least} on, not {value!r}")
