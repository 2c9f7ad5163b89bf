"""One run of a queue over an input: lines in, lines out, and an orderly end whatever happens.

    source -> intake -> queue -> window -> outlet -> sink

Two tasks do it. The *intake* reads lines and sends them; the *outlet* writes what came of them. The run is over
when the outlet is: when the input has ended and all is written, or for a reason to stop.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from time import monotonic
from typing import Any

from event_collector.command import logs
from event_collector.command.acknowledgements import Acknowledgements, was_given_up
from event_collector.command.files import Sink, Source
from event_collector.command.input_window import Entry, Window
from event_collector.command.ndjson import Line, LineDecoder, LineEncoder, LineSplitter
from event_collector.command.progress import Progress
from event_collector.command.tally import Tally, ranges
from event_collector.events.event import CollectorEvent
from event_collector.life.interruption import Interruption
from event_collector.queue import CollectorQueue
from event_collector.values.errors import JournalError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown

__all__ = ["Job", "give_up"]

NANOSECONDS = 1e9
CHUNK = 256 * 1024
"""Bytes of output written at once, about: each time a thread is woken, which must get hold of the interpreter."""
GRACE = 1.0
"""Seconds for writing out what a given-up queue has left; a reader that takes longer does not get it."""


class Job:
    """The run.

    Args:
        queue: a queue that runs.
        source: where lines come from.
        sink: where they go.
        splitter, decoder, encoder: between bytes and values.
        window: the lines in the works.
        tally: what is counted.
        progress: what is shown of it.
        fail_fast: whether the first failed line, in the order of the output, is the last one.
        acknowledgements: tells the journal what is written; None without one.

    """

    def __init__(
        self,
        queue: CollectorQueue,
        source: Source,
        sink: Sink,
        *,
        splitter: LineSplitter,
        decoder: LineDecoder,
        encoder: LineEncoder,
        window: Window,
        tally: Tally,
        progress: Progress,
        fail_fast: bool,
        acknowledgements: Acknowledgements | None = None,
    ) -> None:
        self._queue, self._source, self._sink = queue, source, sink
        self._splitter, self._decoder, self._encoder = splitter, decoder, encoder
        self.window, self.tally, self.progress = window, tally, progress
        self._fail_fast = fail_fast
        self._acknowledgements = acknowledgements
        self._intake: asyncio.Task[None] | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self.failed_fast = False
        """Whether a failed event ended it."""
        self.reader_gone = False
        """Whether it ended because nobody reads the output any more."""
        self.complaint: str | None = None
        """What went wrong with the input, the output or the queue, rather than with an event."""

    async def run(self, interruption: Interruption, drain_timeout: float) -> None:
        """Process the input to its end, or until there is a reason to stop.

        After a signal nothing more is read, and what was read is finished for `drain_timeout` seconds; what is
        left then, and after any other early end, is given up, which ends the queue.
        """
        intake = self._intake = asyncio.create_task(self._take_in(), name="intake")
        outlet = asyncio.create_task(self._give_out(), name="outlet")
        signal = asyncio.create_task(interruption.wait(), name="signal")
        ticker = asyncio.create_task(self._tick(), name="progress")
        try:
            await asyncio.wait({outlet, signal}, return_when=asyncio.FIRST_COMPLETED)
            intake.cancel()
            if not outlet.done():
                await asyncio.wait({outlet}, timeout=drain_timeout)
            if self.reader_gone:
                logs.silence()
            if len(self.window):
                await give_up(self._queue)
                await asyncio.wait({outlet}, timeout=GRACE)
        finally:
            await _end(intake, outlet, signal, ticker, *self._sends)
            self.tally.unwritten = self.window.numbers()
            self.tally.look_at(self._queue)
            self.tally.ended = monotonic()

    async def _take_in(self) -> None:
        try:
            async with contextlib.aclosing(self._lines()) as lines:
                async for line in lines:
                    if line.data is None or line.data.strip():
                        await self._take(line)
        except (QueueShutDown, OSError) as exc:
            self.complaint = f"stopped reading after line {self.tally.read:,}: {exc}"
        finally:
            self.window.close()

    async def _lines(self) -> AsyncGenerator[Line, None]:
        while chunk := await self._source.read():
            for line in self._splitter.feed(chunk):
                yield line
        for line in self._splitter.finish():
            yield line

    async def _take(self, line: Line) -> None:
        entry = await self.window.enter(line.number, line.size)
        try:
            payload = Payload(self._decoder(line))
        except (ValueError, TypeError) as exc:
            entry.refused(exc)
        else:
            if self._acknowledgements is None:
                await self._send(entry, payload)
            else:
                self._send_beside(entry, payload, line.number)
        self.tally.read = line.number

    async def _send(self, entry: Entry, payload: Payload[Any]) -> None:
        try:
            entry.sent(await self._queue.get_publisher().send(payload))
        except BaseException:
            self.window.withdraw(entry)
            raise

    def _send_beside(self, entry: Entry, payload: Payload[Any], number: int) -> None:
        """Send beside the lines that follow: those that are sent together share a wait for the disk."""
        payload._update_headers(origin=number)
        sending = asyncio.create_task(self._send_to_journal(entry, payload), name=f"line {number}")
        self._sends.add(sending)
        sending.add_done_callback(self._sends.discard)

    async def _send_to_journal(self, entry: Entry, payload: Payload[Any]) -> None:
        try:
            entry.sent(await self._queue.get_publisher().send(payload))
        except Exception as exc:
            entry.refused(exc)
            if isinstance(exc, JournalError) and self._intake is not None:
                self.complaint = self.complaint or f"stopped reading after line {self.tally.read:,}: {exc}"
                self._intake.cancel()

    def replay(self, events: Iterable[CollectorEvent]) -> None:
        """Have the output of events of an earlier run written too, before any other."""
        for event in events:
            self.window.replay(event.payload._headers.origin).sent(event)

    async def _give_out(self) -> None:
        try:
            while not self.failed_fast and await self.window.wait():
                entries, data = self._encode_ready()
                with self.progress.aside() if self._sink.is_terminal else contextlib.nullcontext():
                    await self._sink.write(data)
                self.window.leave(entries)
                if self._acknowledgements is not None:
                    self._acknowledgements.written(entries)
                self.tally.bytes_done += sum(entry.size for entry in entries)
        except BrokenPipeError:
            self.reader_gone = True
        except OSError as exc:
            self.complaint = f"cannot write the output: {exc.strerror}"

    def _encode_ready(self) -> tuple[list[Entry], bytes]:
        """Take entries that are ready, up to some size or the failed one that is to be the last."""
        entries, data = [], bytearray()
        while len(data) < CHUNK and not self.failed_fast and (entry := self.window.take()) is not None:
            entries.append(entry)
            line, failed = self._encode(entry)
            data += line
            self.failed_fast = failed and self._fail_fast
        return entries, bytes(data)

    def _encode(self, entry: Entry) -> tuple[bytes, bool]:
        """Return the line of output of an entry, and whether it failed."""
        event, tally = entry.event, self.tally
        results = None if event is None else event.get_result()
        if event is None or results is None:
            line = self._encoder.error(entry.number, entry.error or RuntimeError("no result"))
            if isinstance(entry.error, QueueShutDown):
                tally.give_up(entry)
                return line, False
            tally.failed += 1
            return line, True
        tally.in_handlers += event.service_time() / NANOSECONDS
        line, failed = self._encoder.results(entry.number, results, replayed=entry.replayed)
        if was_given_up(event):
            tally.give_up(entry)
            return line, False
        tally.failed += failed
        tally.succeeded += not failed
        return line, failed

    def stopped(self) -> str:
        """Return after what it was stopped, and what is not finished."""
        left = self.unfinished()
        return f"after line {self.tally.read:,}{f'; {left}' if left else ', all finished'}"

    def unfinished(self) -> str:
        """Return which lines were read and not done, in words; nothing if all were."""
        numbers = self.tally.unfinished
        return f"not finished: {ranges(numbers)}" if numbers else ""

    def summary(self) -> str:
        """Return what is told at the end."""
        return self.tally.summary(self._queue)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.progress.interval)
            self.tally.look_at(self._queue)
            self.progress.show(self.tally)


async def give_up(queue: CollectorQueue) -> None:
    """End the queue at once: events that are not finished end with QueueShutDown."""
    end = asyncio.create_task(queue.shut_down_queue())
    await asyncio.sleep(0)  # a task that is cancelled before its first step never takes it
    end.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await end


async def _end(*tasks: "asyncio.Task[None]") -> None:
    """Cancel the tasks and wait for them; an error that one of them ended with is raised."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
