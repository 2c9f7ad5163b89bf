"""One run of a queue over the messages of a source: messages in, lines out, and an orderly end whatever happens.

    source -> feed -> queue -> feed -> sink, and then the source is told

A message is acknowledged when its line is written, so each is written at least once. Lines stand in the order in which
events finish.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from time import monotonic
from typing import Any

import structlog

from event_collector.command import logs
from event_collector.command.files import Sink
from event_collector.command.input_job import GRACE, NANOSECONDS, give_up
from event_collector.command.ndjson import LineEncoder
from event_collector.command.progress import Progress
from event_collector.command.tally import Tally
from event_collector.life.interruption import Interruption
from event_collector.queue import CollectorQueue
from event_collector.sources.feed import Feed
from event_collector.sources.ledger import Finished
from event_collector.sources.source import Source
from event_collector.values.errors import SourceError

__all__ = ["MessageJob"]


class MessageJob:
    """The run.

    Args:
        queue: a queue that runs.
        source: where messages come from.
        sink: where lines go.
        encoder: between results and lines.
        tally: what is counted.
        progress: what is shown of it.
        until_empty: whether to end when no more messages come.
        feed: what else the feed is given.

    """

    def __init__(
        self,
        queue: CollectorQueue,
        source: Source,
        sink: Sink,
        *,
        encoder: LineEncoder,
        tally: Tally,
        progress: Progress,
        until_empty: bool,
        feed: dict[str, Any],
    ) -> None:
        self._queue, self._sink, self._encoder = queue, sink, encoder
        self.tally, self.progress = tally, progress
        self._until_empty = until_empty
        log = structlog.get_logger().bind(source=source.name)
        self._feed = Feed(queue, source, on_finished=self._write, log=log, **feed)
        self.reader_gone = False
        """Whether it ended because nobody reads the output any more."""
        self.complaint: str | None = None
        """What went wrong with the source, the output or the queue, rather than with an event."""

    async def run(self, interruption: Interruption, drain_timeout: float) -> None:
        """Process messages until there is a reason to stop.

        After a signal nothing more is fetched, and what was fetched is finished for `drain_timeout` seconds; what is
        left then, and after any other early end, is given back to the source, which ends the queue.
        """
        feeding = asyncio.create_task(self._feed_queue(), name="feed")
        signal = asyncio.create_task(interruption.wait(), name="signal")
        ticker = asyncio.create_task(self._tick(), name="progress")
        try:
            await asyncio.wait({feeding, signal}, return_when=asyncio.FIRST_COMPLETED)
            self._feed.stop()
            if not feeding.done():
                await asyncio.wait({feeding}, timeout=drain_timeout)
            if self.reader_gone:
                logs.silence()
            account = self._queue.accounting()
            if not feeding.done() or account.in_handlers or account.queued:
                await give_up(self._queue)
                await asyncio.wait({feeding}, timeout=GRACE)
        finally:
            for task in (feeding, signal, ticker):
                task.cancel()
            await asyncio.gather(feeding, signal, ticker, return_exceptions=True)
            self.tally.look_at(self._queue)
            self.tally.ended = monotonic()
        if not feeding.cancelled():
            feeding.result()

    async def _feed_queue(self) -> None:
        try:
            await self._feed.run(until_empty=self._until_empty)
        except SourceError as exc:
            self.complaint = str(exc)
        except BrokenPipeError:
            self.reader_gone = True
        except OSError as exc:
            self.complaint = f"cannot write the output: {exc.strerror}"

    async def _write(self, finished: Sequence[Finished]) -> None:
        data = b"".join(map(self._encode, finished))
        with self.progress.aside() if self._sink.is_terminal else contextlib.nullcontext():
            await self._sink.write(data)

    def _encode(self, finished: Finished) -> bytes:
        place, event, tally = finished.message.place, finished.event, self.tally
        number = int(place) if place.isdecimal() else place
        results = None if event is None else event.get_result()
        if event is None or results is None:
            tally.failed += 1
            return self._encoder.error(number, finished.error or RuntimeError("no result"))
        tally.in_handlers += event.service_time() / NANOSECONDS
        line, failed = self._encoder.results(number, results)
        tally.failed += failed
        tally.succeeded += not failed
        return line

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.progress.interval)
            self.tally.look_at(self._queue)
            self.progress.show(self.tally)

    def stopped(self) -> str:
        """Return after what it was stopped, and what is not finished."""
        counts = self._feed.counts()
        left = counts.released + counts.held
        given_back = f"; given back to the source: {left:,}" if left else ", all finished"
        return f"after {counts.fetched:,} messages{given_back}"

    def unfinished(self) -> str:
        """Return nothing: what is not finished is the source's again."""
        return ""

    def summary(self) -> str:
        """Return what is told at the end."""
        counts = self._feed.counts()
        shown = (
            (counts.fetched, "fetched"), (counts.retried, "to be delivered again"), (counts.duplicates, "duplicates"),
            (counts.buried, "dead letters"), (counts.released, "given back"), (counts.unsettled, "unsettled"),
        )  # fmt: skip
        told = ", ".join(f"{number:,} {what}" for number, what in shown if number or what == "fetched")
        return f"{self.tally.summary(self._queue)}\n  messages: {told}"
