"""A run in which each line is an event, with all that a queue offers for single events.

input -> intake -> queue -> window -> output
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from event_collector.command.lines.files import InputFile
from event_collector.command.lines.input_run import InputRun, end_tasks
from event_collector.command.lines.line_journal import LineJournal, OtherInput
from event_collector.command.lines.line_window import LineWindow, PendingLine
from event_collector.command.lines.ndjson import InputLine, LineDecoder, LineSplitter
from event_collector.command.tally import RunOutput
from event_collector.queue import CollectorQueue
from event_collector.values.errors import JournalError
from event_collector.values.payload import Payload


class LineRun(InputRun[PendingLine]):
    """A run that sends lines to the queue one by one."""

    _window: LineWindow

    def __init__(
        self, queue: CollectorQueue, source: InputFile, output: RunOutput, *, splitter: Callable[[], LineSplitter],
        decoder: LineDecoder, window: LineWindow, fail_fast: bool, journal: LineJournal | None = None,
    ) -> None:  # fmt: skip
        super().__init__(queue, output, window, fail_fast=fail_fast)
        self._source, self._splitter, self._decoder, self._journal = source, splitter, decoder, journal
        self._sends: set[asyncio.Task[None]] = set()
        self._is_read = False

    async def process(self) -> None:
        """Process the input to its end, or until `stop()` and what was read by then is finished."""
        try:
            await super().process()
            if self._journal is not None and self._is_read and not self._has_failed_fast and not self.unfinished():
                self._journal.complete()
        finally:
            await end_tasks(*self._sends)

    async def _take_lines(self) -> None:
        try:
            try:
                await self._take_input()
            except OtherInput:
                if self._journal is None or not self._journal.begins_anew():
                    raise
                self._source.rewind()
                await self._take_input()
            self._is_read = True
        except OtherInput as exc:
            self._tally.complain(f"--resume: this is another input: {exc}")

    async def _take_input(self) -> None:
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

    def _left(self, blocks: list[PendingLine]) -> None:
        if self._journal is not None:
            self._journal.acknowledge(blocks)
