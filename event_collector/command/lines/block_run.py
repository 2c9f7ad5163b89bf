"""A run in which lines go to worker processes in blocks of bytes, which come back as bytes to write.

    input -> intake -> feed of chunks -> window -> output

It writes what a run writes in which each line is an event.
"""

from typing import Any

from event_collector.command.lines.block_window import BlockWindow, FinishedLines
from event_collector.command.lines.files import InputFile
from event_collector.command.lines.input_run import InputRun
from event_collector.command.lines.ndjson import InputLine, LineBlock, LineDecoder, LineSplitter
from event_collector.command.tally import RunOutput
from event_collector.dispatch.chunk_feed import ChunkFeed
from event_collector.queue import CollectorQueue
from event_collector.values.payload import Payload


class BlockRun(InputRun[FinishedLines]):
    """A run through the only collector of a queue, without an option that needs single events.

    Args:
        window: takes the results of `feed`.
        is_fixed: whether the window keeps its number of lines. Otherwise it has room for as many as keep the workers
            busy.
    """

    _window: BlockWindow

    def __init__(
        self, queue: CollectorQueue, source: InputFile, output: RunOutput, *, splitter: LineSplitter,
        decoder: LineDecoder, window: BlockWindow, feed: ChunkFeed, is_fixed: bool, fail_fast: bool,
    ) -> None:  # fmt: skip
        super().__init__(queue, output, window, fail_fast=fail_fast)
        self._source, self._splitter, self._decoder, self._feed = source, splitter, decoder, feed
        self._is_fixed = is_fixed

    @classmethod
    def open(
        cls, queue: CollectorQueue, source: InputFile, output: RunOutput, *, decoder: LineDecoder, window: BlockWindow,
        **options: Any,
    ) -> "BlockRun | None":  # fmt: skip
        """Return a run; None if the queue has to have each line as an event."""

        def read_line(number: int, line: bytes) -> Payload[Any]:
            return Payload(decoder(InputLine(number, line, len(line))))

        feed = queue._feed_lines(window, read_line)
        if feed is None:
            return None
        return cls(queue, source, output, decoder=decoder, window=window, feed=feed, **options)

    async def process(self) -> None:
        """Process the input to its end, or until `stop()` and what was read by then is finished."""
        usage = self._feed.collector.usage
        before = usage.wall
        try:
            await super().process()
        finally:
            self._feed.withdraw()
            self._tally.note_in_handlers(usage.wall - before)

    async def _take_lines(self) -> None:
        while chunk := await self._source.read():
            for block in self._splitter.blocks(chunk):
                await (self._take(block) if isinstance(block, LineBlock) else self._take_line(block))
        for line in self._splitter.finish():
            await self._take_line(line)

    async def _take(self, block: LineBlock) -> None:
        number, lines = block
        while lines:
            if not self._is_fixed:
                self._window.widen(self._feed.ahead)
            entered = await self._window.enter(number, lines)
            try:
                self._feed.put(number - 1, entered)
            except BaseException:
                self._window.withdraw()
                raise
            number, lines = number + len(entered), lines[len(entered) :]
            self._tally.note_read(number - 1)

    async def _take_line(self, line: InputLine) -> None:
        """Take a line that is too long, empty, or neither."""
        if line.data is None:
            try:
                self._decoder(line)
            except ValueError as exc:
                await self._window.enter_without_event(line.number, line.size, exc)
                self._tally.note_read(line.number)
        elif line.data.strip():
            await self._take(LineBlock(line.number, [line.data]))
        else:
            await self._window.enter_without_event(line.number, line.size, None)
