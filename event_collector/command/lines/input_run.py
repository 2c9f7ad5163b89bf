"""A run over lines: an intake takes lines into a window, and they leave it as lines of output.

    input -> intake -> queue -> window -> output

The run is over when the input has ended and all output is written, or for a reason to stop.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from event_collector.command.tally import RunOutput
from event_collector.queue import CollectorQueue
from event_collector.values.refusals import QueueShutDown

CHUNK = 256 * 1024  # bytes of one write, about. Each write wakes a thread, which then waits for the interpreter lock


class FinishedBlock(Protocol):
    """Lines that leave a window: one line, or consecutive ones."""

    @property
    def number(self) -> int | None:
        """Number of the first line; None if it was not a line."""

    @property
    def events(self) -> int:
        """Number of events."""

    @property
    def size(self) -> int:
        """Bytes of input."""

    @property
    def is_replayed(self) -> bool:
        """Whether the line belongs to an earlier run."""

    def encode(self, output: RunOutput) -> tuple[bytes, bool]:
        """Return the lines to write, and whether there is an error among them."""

    def was_given_up(self) -> bool:
        """Return whether the queue ended before the line was processed."""


F = TypeVar("F", bound=FinishedBlock)


class OutputWindow(Protocol[F]):
    """The lines that were read and are not yet written, as the output sees them."""

    async def wait(self) -> bool:
        """Wait until lines can leave; return False when the window is closed and empty."""

    def take(self) -> F | None:
        """Return the next lines to leave; None if there are none, or they are not ready."""

    def leave(self, blocks: Iterable[F], /) -> None:
        """Remove lines whose output is written."""

    def close(self) -> None:
        """Note that no more lines will enter."""

    def numbers(self) -> list[int]:
        """Return the numbers of this run's lines inside."""

    def __len__(self) -> int:
        """Return the number of lines inside."""


class InputRun(ABC, Generic[F]):
    """A `QueueRun` over lines. With `fail_fast`, it stops at the first failed line, in the order of the output."""

    def __init__(self, queue: CollectorQueue, output: RunOutput, window: "OutputWindow[F]", *, fail_fast: bool) -> None:
        self.queue, self.output = queue, output
        self._window, self._tally, self._fail_fast = window, output.tally, fail_fast
        self._intake: asyncio.Task[None] | None = None
        self._has_failed_fast = False

    async def process(self) -> None:
        """Process the input to its end, or until `stop()` and what was read by then is finished."""
        intake = self._intake = asyncio.create_task(self._take_in(), name="intake")
        try:
            await self._write_out()
        finally:
            await end_tasks(intake)
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
            await self._take_lines()
        except (QueueShutDown, OSError) as exc:
            self._complain_of_reading(exc)
        finally:
            self._window.close()

    @abstractmethod
    async def _take_lines(self) -> None:
        """Take the lines of the input in, to its end. Raises OSError or QueueShutDown."""

    def _complain_of_reading(self, exc: Exception) -> None:
        self._tally.complain(f"stopped reading after line {self._tally.read:,}: {exc}")

    # Output

    async def _write_out(self) -> None:
        with self._tally.catch_output_errors():
            while not self._has_failed_fast and await self._window.wait():
                blocks, data = self._encode_ready()
                await self.output.write(data)
                self._window.leave(blocks)
                self._left(blocks)
                self._tally.note_written(sum(block.size for block in blocks))

    def _left(self, blocks: list[F]) -> None:
        """Note lines whose output is written."""

    def _encode_ready(self) -> tuple[list[F], bytes]:
        """Take lines that are ready, up to about `CHUNK` bytes of output, or up to a failed one with `fail_fast`."""
        blocks, data = [], bytearray()
        while len(data) < CHUNK and not self._has_failed_fast and (block := self._window.take()) is not None:
            blocks.append(block)
            encoded, failed = self._encode(block)
            data += encoded
            self._has_failed_fast = failed and self._fail_fast
        return blocks, bytes(data)

    def _encode(self, block: F) -> tuple[bytes, bool]:
        """Return the output of lines, and whether one failed; a line that the queue gave up counts as neither."""
        data, failed = block.encode(self.output)
        if not block.was_given_up():
            self._tally.count(block.events, failed=failed)
            return data, failed
        if block.number is not None and not block.is_replayed:  # a replayed line has no number in this run
            self._tally.note_given_up(block.number)
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
