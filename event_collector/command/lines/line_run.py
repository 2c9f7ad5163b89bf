"""A run over lines: an intake sends lines to the queue, and results are written in the order of the lines.

    input -> intake -> queue -> window -> output

The run is over when the input has ended and all output is written, or for a reason to stop.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from event_collector.command.lines.files import InputFile
from event_collector.command.lines.line_journal import LineJournal, OtherInput
from event_collector.command.lines.line_window import LineWindow, PendingLine
from event_collector.command.lines.ndjson import InputLine, LineDecoder, LineSplitter
from event_collector.command.tally import RunOutput
from event_collector.queue import CollectorQueue
from event_collector.values.errors import JournalError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown

CHUNK = 256 * 1024  # bytes of one write, about. Each write wakes a thread, which then waits for the interpreter lock


class LineRun:
    """A `QueueRun` over lines. With `fail_fast`, it stops at the first failed line, in the order of the output."""

    def __init__(
        self, queue: CollectorQueue, source: InputFile, output: RunOutput, *, splitter: Callable[[], LineSplitter],
        decoder: LineDecoder, window: LineWindow, fail_fast: bool, journal: LineJournal | None = None,
    ) -> None:  # fmt: skip
        self.queue, self.output = queue, output
        self._source, self._splitter, self._decoder, self._window = source, splitter, decoder, window
        self._tally, self._fail_fast, self._journal = output.tally, fail_fast, journal
        self._intake: asyncio.Task[None] | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._has_failed_fast = self._is_read = False

    async def process(self) -> None:
        """Process the input to its end, or until `stop()` and what was read by then is finished."""
        intake = self._intake = asyncio.create_task(self._take_in(), name="intake")
        try:
            await self._write_out()
            if self._journal is not None and self._is_read and not self._has_failed_fast and not self.unfinished():
                self._journal.complete()
        finally:
            await end_tasks(intake, *self._sends)
            self._tally.note_unwritten(self._window.numbers())

    def stop(self) -> None:
        """Read nothing more."""
        if self._intake is not None:
            self._intake.cancel()

    def unfinished(self) -> int:
        """Return how many lines were read whose output is not written."""
        return len(self._window)

    # Intake

    async def _take_in(self) -> None:
        try:
            try:
                await self._take_lines()
            except OtherInput:
                if self._journal is None or not self._journal.begins_anew():
                    raise
                self._source.rewind()
                await self._take_lines()
            self._is_read = True
        except (QueueShutDown, OSError) as exc:
            self._complain_of_reading(exc)
        except OtherInput as exc:
            self._tally.complain(f"--resume: this is another input: {exc}")
        finally:
            self._window.close()

    async def _take_lines(self) -> None:
        async with contextlib.aclosing(self._lines()) as lines:
            async for line in lines:
                if self._journal is not None and self._journal.skips(line):
                    self._tally.note_read(line.number)
                    self._tally.note_written(line.size)
                elif line.data is None or line.data.strip():
                    await self._take(line)
                elif self._journal is not None:
                    self._journal.take(line.number)
        if self._journal is not None:
            self._journal.end()

    async def _lines(self) -> AsyncGenerator[InputLine, None]:
        splitter = self._splitter()
        while chunk := await self._source.read():
            for line in splitter.feed(chunk):
                yield line
        for line in splitter.finish():
            yield line

    async def _take(self, line: InputLine) -> None:
        pending = await self._window.enter(line.number, line.size)
        try:
            payload = Payload(self._decoder(line))
        except (ValueError, TypeError) as exc:
            if self._journal is None:
                pending.refuse(exc)
            else:  # after the lines before it, whose tasks have not begun
                asyncio.get_running_loop().call_soon(self._journal.refuse, pending, line.number, exc)
        else:
            if self._journal is None:
                await self._send(pending, payload)
            else:
                self._send_beside(self._journal, pending, payload, line.number)
        self._tally.note_read(line.number)

    async def _send(self, pending: PendingLine, payload: Payload[Any]) -> None:
        try:
            pending.attach(await self.queue.get_publisher().send(payload))
        except BaseException:
            self._window.withdraw(pending)
            raise

    def _send_beside(self, journal: LineJournal, pending: PendingLine, payload: Payload[Any], number: int) -> None:
        """Send in a task: events that are sent at the same time share one sync of the disk."""
        payload._update_headers(origin=number)
        sending = asyncio.create_task(self._send_to_journal(journal, pending, payload, number), name=f"line {number}")
        self._sends.add(sending)
        sending.add_done_callback(self._sends.discard)

    async def _send_to_journal(
        self, journal: LineJournal, pending: PendingLine, payload: Payload[Any], number: int
    ) -> None:
        try:
            pending.attach(await self.queue.get_publisher().send(payload))
        except Exception as exc:
            journal.refuse(pending, number, exc)
            if isinstance(exc, JournalError):
                self._complain_of_reading(exc)
                self.stop()

    def _complain_of_reading(self, exc: Exception) -> None:
        self._tally.complain(f"stopped reading after line {self._tally.read:,}: {exc}")

    # Output

    async def _write_out(self) -> None:
        with self._tally.catch_output_errors():
            while not self._has_failed_fast and await self._window.wait():
                lines, data = self._encode_ready()
                await self.output.write(data)
                self._window.leave(lines)
                if self._journal is not None:
                    self._journal.acknowledge(lines)
                self._tally.note_written(sum(line.size for line in lines))

    def _encode_ready(self) -> tuple[list[PendingLine], bytes]:
        """Take lines that are ready, up to about `CHUNK` bytes of output, or up to a failed one with `fail_fast`."""
        lines, data = [], bytearray()
        while len(data) < CHUNK and not self._has_failed_fast and (line := self._window.take()) is not None:
            lines.append(line)
            encoded, failed = self._encode(line)
            data += encoded
            self._has_failed_fast = failed and self._fail_fast
        return lines, bytes(data)

    def _encode(self, line: PendingLine) -> tuple[bytes, bool]:
        """Return the output of a line, and whether it failed; a line that the queue gave up counts as neither."""
        data, failed = self.output.encode(line.number, line.event, line.error, replayed=line.is_replayed)
        if not line.was_given_up():
            self._tally.count(failed=failed)
            return data, failed
        if line.number is not None and not line.is_replayed:  # a replayed line has no number in this run
            self._tally.note_given_up(line.number)
        return data, False

    # Report

    def stopped(self, *, at_once: bool) -> str:
        """Return a text that says where a signal has stopped the run, for the second one `at_once`."""
        unfinished = self._tally.unfinished()
        if at_once:
            unfinished = f"not finished: {len(self._window.numbers()):,} lines"
        return f"after line {self._tally.read:,}{f'; {unfinished}' if unfinished else ', all finished'}"

    def cut_short(self) -> str:
        """Return a text that says why the run ended early without a signal; empty if it did not."""
        unfinished = self._tally.unfinished()
        if not self._has_failed_fast:
            return unfinished
        text = f"stopped at the first failed event, having read {self._tally.read:,} lines"
        return f"{text}; {unfinished}" if unfinished else text

    def summary(self) -> str:
        """Return the summary of the run."""
        return self._tally.summary(self.queue)


async def end_tasks(*tasks: "asyncio.Task[None]") -> None:
    """Cancel the tasks and wait for them; raise the first error that one of them ended with."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
