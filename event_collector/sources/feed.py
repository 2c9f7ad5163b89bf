"""The feed from a source to a queue: messages become events, and each message is settled after its event.

    source --fetch()--> held --send()--> queue --> results --settle()--> acknowledge, retry, bury
                         |                                                   |
                         '--extend(), until it is settled                    '--> on_finished()

A feed has three tasks. The *intake* fetches no more than there is room for, and sends. The *settler* settles finished
messages. The *heartbeat* extends held ones. The ledger records which messages are held, and the fate of the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from random import random
from time import monotonic
from typing import Any, Final, TypeVar

from event_collector.handlers.retry import Retry
from event_collector.life.logger import make_logger
from event_collector.queue import CollectorQueue
from event_collector.sources.feed_checks import check_at_least, check_parts
from event_collector.sources.heartbeat import extend_held
from event_collector.sources.ledger import Finished, HeldMessage, Ledger
from event_collector.sources.pace import Pace
from event_collector.sources.payloads import JsonPayloads, from_message
from event_collector.sources.settlement import LOST, MALFORMED, Fate, Settlement, settle
from event_collector.sources.source import PATIENCE, BrokerMessage, Source
from event_collector.sources.source_health import SourceHealth
from event_collector.values.checks import check_callable
from event_collector.values.errors import ConfigError, SourceError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import ResultList
from event_collector.watching.feeds import FeedCounts, FeedSnapshot, FeedState
from event_collector_workers.error_texts import error_text

T = TypeVar("T")

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
PAUSE: Final = 0.5
"""Seconds between two attempts to reach a lost source."""
POLL: Final = 0.05
"""Seconds between two checks for room in the queue: an event that begins makes room without a notification."""


class Feed:
    """Feeds the messages of a source to a queue.

    A message is acknowledged when the handlers of its event have succeeded. A message that fails is delivered again
    after a delay, to any program that is free. After `retry.max_attempts` deliveries, or at an error that `retry` does
    not retry, it becomes a dead letter of the source. The error of a collector with `retry=` is final, because that
    collector has made its attempts already.

    Args:
        queue: a queue that runs. It needs no journal: with one, events that its end gives up run twice.
        source: where messages come from; the feed opens and closes it.
        retry: number and delay of deliveries; five deliveries if not given. Every delivery counts, also one to a
            program that was killed.
        max_in_flight: maximum number of messages that are fetched and not settled, at least 1. The feed fetches fewer
            if the queue has less room (but at least one), or to leave messages to other programs: the messages that
            wait for a handler are at most those settled in a quarter of a second, a quarter of those in handlers, or
            two, whichever is more.
        max_bytes: approximate limit of their bytes of data; the next message may exceed it.
        max_deliveries: a message that was delivered more often than this, and never settled, becomes a dead letter
            without being run: it may kill the programs that run it.
        to_payload: makes a payload of a message; an exception makes the message a dead letter, "malformed". By
            default the data is JSON of the payload type of the collectors, of at most 16 MiB.
        duplicate_window: seconds for which a finished message is remembered; another delivery of it within this time
            is acknowledged and not run. So are copies under the id that its publisher gave, if it succeeded. 0
            disables the window.
        on_finished: awaited with finished messages before they are settled, for example to save results. An exception
            ends the feed; these messages are delivered again.
        log: a structlog logger to use instead of the default one.

    Raises:
        ConfigError: a value is out of range.
        UnknownType: JSON cannot be decoded into the payload type of the collectors.
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
        to_payload: Callable[[BrokerMessage], Payload[Any]] | None = None,
        duplicate_window: float = 120.0,
        on_finished: Callable[[Sequence[Finished]], Awaitable[None]] | None = None,
        log: Any = None,
    ) -> None:
        check_at_least(1, max_in_flight=max_in_flight, max_bytes=max_bytes, max_deliveries=max_deliveries)
        check_at_least(0, duplicate_window=duplicate_window)
        check_parts(queue, source, retry)
        check_callable("Feed(to_payload=...) takes", to_payload)
        check_callable("Feed(on_finished=...) takes", on_finished)
        self._queue, self._source = queue, source
        self._policy = Retry(max_attempts=5) if retry is None else retry
        self._max_in_flight, self._max_bytes, self._max_deliveries = max_in_flight, max_bytes, max_deliveries
        self._to_payload = to_payload or JsonPayloads(queue.collectors.values(), MAX_MESSAGE_BYTES)
        self._ledger, self._duplicate_window = Ledger(duplicate_window, self._on_done), float(duplicate_window)
        self._on_finished = on_finished
        self._log = make_logger(f"Feed {source.name}", log)
        self._health = SourceHealth(self._log)  # all three tasks tell it
        self._name, self._has_ended = "", False  # the name under which it is shown, from its start
        self._retried_here = frozenset(key for key, c in queue.collectors.items() if c.retry is not None)
        self._mean_size = 1.0
        self._pace = Pace()
        self._finished: list[HeldMessage] = []
        self._intake: asyncio.Task[None] | None = None
        self._stopping = False
        # Written by the intake:
        self._is_sending = False  # waits for the queue, not for the source
        self._is_held_back = False  # waits for room, and fetches nothing
        self._intake_ended = False
        # Written by the settler:
        self._owed: list[BrokerMessage] = []  # acknowledgements that failed and are tried again
        self._last_retry = 0.0  # when the last failed message is delivered again
        # Written by all three tasks:
        self._news = asyncio.Event()  # for the settler
        self._room = asyncio.Event()  # for the intake: messages were settled, or `stop()` was called

    def counts(self) -> FeedCounts:
        """Return the current counts of messages."""
        return self._ledger.counts()

    def look(self) -> FeedSnapshot:
        """Return what a snapshot of the queue tells of this feed."""
        return FeedSnapshot(
            name=self._name,
            state=self._state(),
            counts=self._ledger.counts(),
            held_bytes=self._ledger.bytes,
            remembered=self._ledger.remembered,
            duplicate_window=self._duplicate_window,
            is_held_back=self._is_held_back or self._is_sending,
            last_error=self._health.last_error,
            last_error_time=self._health.last_error_time,
        )

    def _state(self) -> FeedState:
        if self._has_ended:
            return "ended"
        if self._intake is None:
            return "opening"
        if self._stopping or self._intake_ended:
            return "stopping"
        return "lost" if self._health.is_lost else "failing" if self._health.is_failing else "running"

    async def run(self, *, until_empty: bool = False) -> None:
        """Open the source, feed the queue until `stop()` or until the queue's shutdown begins, and close the source.

        Events that are in the queue then are finished and settled first. A source that cannot be reached is polled,
        with a line in the log. Cancellation gives the messages back at once: their handlers go on, and the messages
        run again elsewhere.

        Args:
            until_empty: also end when no more messages come and all are settled, also those that other programs hold
                or that wait for a retry. A source that does not answer is not empty.

        Raises:
            SourceError: the source cannot be opened.
            Exception: raised by `on_finished`.
        """
        if self._intake is not None:
            raise ConfigError("a feed runs once: make another one")
        self._name, self._has_ended = self._queue.feeds.enter(self._source.name, self), False
        try:
            await self._run(until_empty)
        except Exception as exc:
            self._health.note(exc)
            raise
        finally:
            self._has_ended = True
            self._queue.feeds.leave(self._name)

    async def _run(self, until_empty: bool) -> None:
        await self._source.open()
        self._intake = asyncio.create_task(self._take_in(until_empty), name="feed intake")
        settler = asyncio.create_task(self._settle(), name="feed settler")
        beats = extend_held(self._source, self._ledger, self._health)
        heartbeat = asyncio.create_task(beats, name="feed heartbeat")
        tasks = (settler, heartbeat, self._intake)
        try:
            await asyncio.wait({settler, heartbeat}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leave()
        for task in tasks:
            if not task.cancelled():
                task.result()

    def stop(self) -> None:
        """Fetch nothing more; `run()` returns when all messages in the queue are settled."""
        self._stopping = True
        self._room.set()
        self._source.interrupt()
        if self._is_sending and self._intake is not None:
            self._intake.cancel()

    # Intake

    async def _take_in(self, until_empty: bool) -> None:
        try:
            while not self._stopping:
                most = self._wanted()
                self._is_held_back = not most
                if not most:
                    await _next(self._room, POLL)
                    continue
                messages = await self._ask(self._source.fetch(most))
                if until_empty and messages is not None and not messages and await self._is_empty():
                    return
                await self._send_all(await self._hold(messages or ()))
        except QueueShutDown:
            return
        finally:
            try:
                # Before messages are released, which would be delivered here again.
                await self._source.hand_back()
            except SourceError as exc:
                self._health.fail(exc)
            finally:
                self._intake_ended, self._is_held_back = True, False
                self._news.set()

    def _wanted(self) -> int:
        """Return how many messages to fetch."""
        by_size = (self._max_bytes - self._ledger.bytes) / self._mean_size
        account = self._queue.accounting()
        ahead = self._pace.ahead(monotonic(), account.in_handlers) - account.queued
        wanted = min(self._max_in_flight - len(self._ledger.held), max(1.0, self._queue.room()), by_size, ahead)
        return max(int(wanted), 0 if self._ledger.held else 1)

    async def _is_empty(self) -> bool:
        """Return whether all messages are settled. One that a program holds or that waits for a retry is not."""
        if self._ledger.held:
            return False
        count = getattr(self._source, "count_unsettled", None)
        if count is None:
            return monotonic() > self._last_retry
        return await self._ask(count()) == 0

    async def _ask(self, answer: Awaitable[T]) -> T | None:
        """Return an answer of the source; None, after a pause, if there is none."""
        try:
            value = await answer
        except SourceError as exc:
            self._health.lose(exc)
            await _next(self._room, PAUSE)
            return None
        self._health.find()
        return value

    async def _hold(self, messages: Sequence[BrokerMessage]) -> list[HeldMessage]:
        """Enter messages into the ledger, acknowledge duplicates, and return the messages to run."""
        for message in messages:
            self._mean_size += (len(message.data) - self._mean_size) / 16
        fresh, duplicates = self._ledger.enter(messages, monotonic())
        if duplicates:
            await self._acknowledge(duplicates, "duplicates")
        return fresh

    async def _send_all(self, fresh: Iterable[HeldMessage]) -> None:
        waiting = deque(fresh)
        try:
            while waiting and not self._stopping:
                await self._send(waiting.popleft())
        finally:  # the feed is stopping, the queue is closed, or the intake is cancelled
            for held in waiting:
                held.settle(Settlement(Fate.RELEASED))

    async def _send(self, held: HeldMessage) -> None:
        message = held.message
        if message.deliveries > self._max_deliveries:
            text = f"delivered {message.deliveries} times and never settled"
            held.settle(Settlement(Fate.BURIED, 0.0, LOST, text), SourceError(text))
            return
        try:
            payload = from_message(self._to_payload, message)
        except Exception as exc:
            held.settle(Settlement(Fate.BURIED, 0.0, MALFORMED, error_text(exc)), exc)
            return
        self._is_sending = True
        try:
            held.attach(await self._queue.get_publisher().send(payload))
        except (QueueShutDown, asyncio.CancelledError):
            held.settle(Settlement(Fate.RELEASED))
            raise
        except Exception as exc:  # a journal that cannot be written
            delay = self._policy.delay(message.deliveries, random())
            held.settle(Settlement(Fate.RETRIED, delay, error=error_text(exc)))
        finally:
            self._is_sending = False

    # Settler

    def _on_done(self, held: HeldMessage) -> None:
        self._finished.append(held)
        self._news.set()

    async def _settle(self) -> None:
        while self._ledger.held or not self._intake_ended:
            await _next(self._news, PAUSE if self._owed else None)
            done, self._finished = self._finished, []
            finished = [self._decide(held) for held in done]
            final = [one for one in finished if one.settlement.fate in (Fate.ACKNOWLEDGED, Fate.BURIED)]
            if final and self._on_finished is not None:
                await self._on_finished(final)
            await self._settle_all(finished)
            self._pace.note(len(finished), monotonic())
            self._room.set()

    def _decide(self, held: HeldMessage) -> Finished:
        message, settlement = held.message, held.settlement
        if settlement is None:
            results = (None if held.event is None else held.event.get_result()) or ResultList()
            keys = self._retried_here
            settlement = settle(results, message.deliveries, self._policy, retried_here=keys, chance=random())
        if settlement.fate is Fate.RETRIED:
            self._last_retry = max(self._last_retry, monotonic() + settlement.delay + PATIENCE)
        return Finished(message, settlement, held.event, held.error)

    async def _settle_all(self, finished: Iterable[Finished]) -> None:
        """Settle messages at the source, and remember those that must not run again."""
        acknowledged, others, now = [], [], monotonic()
        for one in finished:
            if one.settlement.fate is Fate.ACKNOWLEDGED:
                acknowledged.append(one.message)
                self._ledger.remember(one.message, now)
            else:
                others.append(self._settle_failure(one))
        owed, self._owed = self._owed + acknowledged, []
        if owed:
            others.append(self._acknowledge(owed, "acknowledged"))
        await asyncio.gather(*others)

    async def _acknowledge(self, messages: list[BrokerMessage], fate: str) -> None:
        try:
            await self._source.acknowledge(messages)
        except SourceError as exc:
            if fate == "acknowledged" and not self._intake_ended:
                self._owed += messages  # they stay held, and are acknowledged later
                self._health.fail(exc)
            else:
                self._note_unsettled(messages, exc)
        else:
            self._health.settle()
            self._ledger.release(messages, fate)

    async def _settle_failure(self, one: Finished) -> None:
        message, (fate, delay, reason, error) = one.message, one.settlement
        try:
            if fate is Fate.BURIED:
                await self._source.bury(message, reason, error)
                # A copy that is published under its id is to have it processed once more.
                self._ledger.remember(message, monotonic(), copies=False)
                details = {"place": message.place, "deliveries": message.deliveries, "reason": reason}
                self._log.warning("a message has failed for good", **details)
            else:
                await self._source.retry(message, delay)
        except SourceError as exc:
            self._note_unsettled([message], exc)
        else:
            self._health.settle()
            self._ledger.release([message], fate.value)

    def _note_unsettled(self, messages: Sequence[BrokerMessage], exc: SourceError) -> None:
        self._ledger.release(messages, "unsettled")
        self._health.fail(exc)

    # End

    async def _leave(self) -> None:
        """Give back the messages that are still held, and close the source."""
        left = [Finished(held.message, Settlement(Fate.RELEASED)) for held in self._ledger.held.values()]
        try:
            await asyncio.gather(*map(self._settle_failure, left))
        finally:
            await self._source.close()

    def __repr__(self) -> str:
        return f"<Feed {self._source.name} {self.counts()}>"


async def _next(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until the event is set, then clear it; wait at most this long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
            event.clear()
