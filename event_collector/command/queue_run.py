"""One run of a queue, of lines or of messages: its counts, its output, and its orderly end."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic
from typing import Protocol

from event_collector.command import logs
from event_collector.command.files import OutputFile
from event_collector.command.ndjson import LineEncoder
from event_collector.command.progress import ProgressCounts, ProgressDisplay
from event_collector.events.event import CollectorEvent
from event_collector.handlers.collector import ADAPTIVE, PROCESS
from event_collector.life.interruption import Interruption
from event_collector.queue import CollectorQueue
from event_collector.watching.tables import plural

NANOSECONDS = 1e9
GRACE = 1.0  # seconds for writing the output of given-up events. A slower reader loses it
NAMED_RANGES = 8  # ranges of line numbers that are named; the lines of further ranges are only counted


@dataclass
class Tally:
    """Counts of one run, and how it ended. The intake writes `read`, the output the other counts."""

    read: int = 0
    """Number of the last line that was taken in."""
    succeeded: int = 0
    failed: int = 0
    given_up: list[int] = field(default_factory=list)
    """Numbers of the lines whose events the queue gave up; their output says so."""
    unwritten: list[int] = field(default_factory=list)
    """Numbers of the lines that were read and have no output."""
    bytes_done: int = 0
    """Bytes of input whose output is written."""
    in_handlers: float = 0.0
    """Seconds that events spent in handlers, in total."""
    workers: int = 0
    """Peak number of worker processes."""
    began: float = field(default_factory=monotonic)
    ended: float | None = None
    reader_gone: bool = False
    """Whether the run ended because the reader of the output has closed the pipe."""
    complaint: str | None = None
    """The first failure of the input, the output or the queue, as opposed to that of an event."""

    def count(self, *, failed: bool) -> None:
        """Count an event that finished."""
        self.failed += failed
        self.succeeded += not failed

    def complain(self, text: str) -> None:
        """Note a failure, unless there was one before."""
        self.complaint = self.complaint or text

    @contextlib.contextmanager
    def catch_output_errors(self) -> Iterator[None]:
        """Note an error of writing the output instead of raising it."""
        try:
            yield
        except BrokenPipeError:
            self.reader_gone = True
        except OSError as exc:
            self.complain(f"cannot write the output: {exc.strerror}")

    @property
    def elapsed(self) -> float:
        """Seconds from the beginning to the end, or until now."""
        return (monotonic() if self.ended is None else self.ended) - self.began

    def progress(self) -> ProgressCounts:
        """Return the counts to display."""
        events, elapsed = self.succeeded + self.failed, self.elapsed
        return ProgressCounts(events, self.failed, events / elapsed if elapsed > 0 else 0.0, self.bytes_done)

    def unfinished(self) -> str:
        """Return a text that names the lines that were read and not finished; empty if all were."""
        numbers = [*self.given_up, *self.unwritten]
        return f"not finished: {name_lines(numbers)}" if numbers else ""

    def note_workers(self, queue: CollectorQueue) -> None:
        """Update the peak of workers; the queue remembers only its last changes."""
        if any(collector.mode in (PROCESS, ADAPTIVE) for collector in queue.collectors.values()):
            sizes = [int(change.after) for change in queue.changes() if change.subject == "workers"]
            self.workers = max(1, self.workers, *sizes)

    def summary(self, queue: CollectorQueue) -> str:
        """Return the summary of the run: events, errors and rate, then the busy time of each mode."""
        events, failed, rate, _ = self.progress()
        lines = [f"{plural(events, 'event')} in {self.elapsed:.2f} s ({rate:,.0f}/s), {plural(failed, 'error')}"]
        for mode, seconds in self._busy(queue).items():
            workers = f", {plural(self.workers, 'worker')}" if mode in (PROCESS, ADAPTIVE) else ""
            lines.append(f"  {mode}: busy for {seconds:.2f} s{workers}")
        return "\n".join(lines)

    def _busy(self, queue: CollectorQueue) -> dict[str, float]:
        collectors = list(queue.collectors.values())
        if len(collectors) == 1:
            return {collectors[0].mode: self.in_handlers}
        busy: dict[str, float] = {}
        for collector in collectors:
            busy[collector.mode] = busy.get(collector.mode, 0.0) + collector.usage.wall
        return busy


def name_lines(numbers: Iterable[int]) -> str:
    """Return line numbers in words: "line 7", "lines 3-5, 9", with a count of those beyond `NAMED_RANGES`."""
    ordered = sorted(numbers)
    starts = [number for before, number in pairwise([-1, *ordered]) if number != before + 1]
    ends = [number for number, after in pairwise([*ordered, -1]) if after != number + 1]
    ranges = list(zip(starts, ends, strict=True))
    text = ", ".join(str(start) if start == end else f"{start}-{end}" for start, end in ranges[:NAMED_RANGES])
    more = sum(end - start + 1 for start, end in ranges[NAMED_RANGES:])
    return f"{'line' if len(ordered) == 1 else 'lines'} {text}" + (f" and {more:,} more" if more else "")


class RunOutput:
    """The output of a run: encodes results and writes lines, beside the progress display."""

    def __init__(self, file: OutputFile, encoder: LineEncoder, tally: Tally, progress: ProgressDisplay) -> None:
        self._file, self._encoder = file, encoder
        self.tally, self.progress = tally, progress

    def encode(
        self, name: int | str | None, event: CollectorEvent | None, error: Exception | None, *, replayed: bool = False
    ) -> tuple[bytes, bool]:  # fmt: skip
        """Return the line of a finished event, or of the error in its place, and whether it failed.

        `name` is the number of the line of input, or the id of the message.
        """
        results = None if event is None else event.get_result()
        if event is None or results is None:
            return self._encoder.error(name, error or RuntimeError("no result")), True
        self.tally.in_handlers += event.service_time() / NANOSECONDS
        return self._encoder.results(name, results, replayed=replayed)

    async def write(self, data: bytes) -> None:
        """Write lines; raises OSError, or BrokenPipeError if the reader has closed the pipe."""
        with self.progress.aside() if self._file.is_terminal else contextlib.nullcontext():
            await self._file.write(data)


class QueueRun(Protocol):
    """A run of a queue over some kind of input."""

    queue: CollectorQueue
    output: RunOutput

    async def process(self) -> None:
        """Process the input to its end, or until `stop()` and what was read by then is finished."""

    def stop(self) -> None:
        """Take in nothing more."""

    def has_unfinished(self) -> bool:
        """Return whether input was taken in and is not finished."""

    def stopped(self, *, at_once: bool) -> str:
        """Return a text that says where a signal has stopped the run; `at_once` in the handler of the second one."""

    def cut_short(self) -> str:
        """Return a text that says why the run ended early without a signal; empty if it did not."""

    def summary(self) -> str:
        """Return the summary of the run."""


async def drive(run: QueueRun, interruption: Interruption, drain_timeout: float) -> None:
    """Process the input to its end, or until there is a reason to stop.

    After a signal nothing more is read, and events in flight have `drain_timeout` seconds to finish. Events that are
    left then, or after any other early end, are given up, which ends the queue.
    """
    tally = run.output.tally
    work = asyncio.create_task(run.process(), name="run")
    signal = asyncio.create_task(interruption.wait(), name="signal")
    ticker = asyncio.create_task(_show_progress(run), name="progress")
    try:
        await asyncio.wait({work, signal}, return_when=asyncio.FIRST_COMPLETED)
        run.stop()
        if not work.done():
            await asyncio.wait({work}, timeout=drain_timeout)
        if tally.reader_gone:
            logs.silence()
        if not work.done() or run.has_unfinished():
            await _give_up(run.queue)
            await asyncio.wait({work}, timeout=GRACE)
    finally:
        await end_tasks(work, signal, ticker)
        tally.note_workers(run.queue)
        tally.ended = monotonic()


async def _show_progress(run: QueueRun) -> None:
    output = run.output
    while True:
        await asyncio.sleep(output.progress.interval)
        output.tally.note_workers(run.queue)
        output.progress.show(output.tally.progress())


async def _give_up(queue: CollectorQueue) -> None:
    """End the queue at once: unfinished events end with QueueShutDown."""
    end = asyncio.create_task(queue.shut_down_queue())
    await asyncio.sleep(0)  # a task that is cancelled before its first step never takes it
    end.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await end


async def end_tasks(*tasks: "asyncio.Task[None]") -> None:
    """Cancel the tasks and wait for them; raise the first error that one of them ended with."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
