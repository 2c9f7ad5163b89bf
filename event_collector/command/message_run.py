"""A run over the messages of a broker: a feed sends messages to the queue and settles them.

    source -> feed -> queue -> feed -> output, then the source settles the message

A message is acknowledged after its line is written, so each result is written at least once. Lines are in the order
in which events finish.
"""

from collections.abc import Sequence
from typing import Any

import structlog

from event_collector.command.tally import RunOutput
from event_collector.queue import CollectorQueue
from event_collector.sources.feed import Feed
from event_collector.sources.ledger import Finished
from event_collector.sources.source import Source
from event_collector.values.errors import SourceError


class MessageRun:
    """A `QueueRun` over messages; `settings` are further arguments of the feed."""

    def __init__(
        self, queue: CollectorQueue, source: Source, output: RunOutput, *, until_empty: bool, **settings: Any
    ) -> None:
        self.queue, self.output = queue, output
        self._until_empty = until_empty
        log = structlog.get_logger().bind(source=source.name)
        self._feed = Feed(queue, source, on_finished=self._write, log=log, **settings)

    async def process(self) -> None:
        """Feed the queue until no more messages come, or until `stop()` and what was fetched is settled."""
        with self.output.tally.catch_output_errors():
            try:
                await self._feed.run(until_empty=self._until_empty)
            except SourceError as exc:
                self.output.tally.complain(str(exc))

    def stop(self) -> None:
        """Fetch nothing more."""
        self._feed.stop()

    def unfinished(self) -> int:
        """Return how many events the queue has."""
        account = self.queue.accounting()
        return account.in_handlers + account.queued

    async def _write(self, finished: Sequence[Finished]) -> None:
        await self.output.write(b"".join(map(self._encode, finished)))

    def _encode(self, finished: Finished) -> bytes:
        place = finished.message.place
        number = int(place) if place.isdecimal() else place
        line, failed = self.output.encode(number, finished.event, finished.error)
        self.output.tally.count(failed=failed)
        return line

    def stopped(self, *, at_once: bool) -> str:
        """Return a text that says where a signal has stopped the run, for the second one `at_once`."""
        counts = self._feed.counts()
        left = counts.released + counts.held
        parts = ((left, "given back to the source"), (counts.unsettled, "to be delivered again, not acknowledged"))
        text = "".join(f"; {what}: {number:,}" for number, what in parts if number)
        return f"after {counts.fetched:,} messages{text or ', all finished'}"

    def cut_short(self) -> str:
        """Return an empty text: unfinished messages went back to the source."""
        return ""

    def summary(self) -> str:
        """Return the summary of the run, with a line about its messages."""
        counts = self._feed.counts()
        parts = (
            (counts.fetched, "fetched"), (counts.retried, "to be delivered again"), (counts.duplicates, "duplicates"),
            (counts.buried, "dead letters"), (counts.released, "given back"), (counts.unsettled, "unsettled"),
        )  # fmt: skip
        text = ", ".join(f"{number:,} {what}" for number, what in parts if number or what == "fetched")
        return f"{self.output.tally.summary(self.queue)}\n  messages: {text}"
