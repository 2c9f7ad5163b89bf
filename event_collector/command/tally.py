"""The tally of one run of a queue, and its output: lines of results beside the progress display."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic
from typing import Any

from event_collector.command.lines.files import OutputFile
from event_collector.command.lines.ndjson import LineEncoder
from event_collector.command.progress import ProgressCounts, ProgressDisplay
from event_collector.events.event import CollectorEvent
from event_collector.handlers.collector import ADAPTIVE, PROCESS
from event_collector.queue import CollectorQueue
from event_collector.values.results import Result, ResultList
from event_collector.watching.tables import plural

NANOSECONDS = 1e9
NAMED_RANGES = 8  # ranges of line numbers that are named; the lines of further ranges are only counted


@dataclass
class Tally:
    """Counts of one run, and how it ended."""

    read: int = 0  # number of the last line that was taken in
    succeeded: int = 0
    failed: int = 0
    given_up: list[int] = field(default_factory=list)  # numbers of lines that the queue gave up; their output says so
    unwritten: list[int] = field(default_factory=list)  # numbers of the lines that were read and have no output
    bytes_done: int = 0  # bytes of input whose output is written
    in_handlers: float = 0.0  # seconds that events spent in handlers, in total
    workers: int = 0  # peak number of worker processes
    began: float = field(default_factory=monotonic)
    ended: float | None = None
    reader_gone: bool = False  # whether the run ended because the reader of the output has closed the pipe
    complaint: str | None = None  # the first failure of the input, the output or the queue, not that of an event

    def count(self, events: int = 1, *, failed: bool) -> None:
        """Count events that finished: successes, or one that failed."""
        self.failed += failed
        self.succeeded += 0 if failed else events

    def note_read(self, number: int) -> None:
        """Note the number of the line that was taken in last."""
        self.read = number

    def note_written(self, size: int) -> None:
        """Count bytes of input whose output is written."""
        self.bytes_done += size

    def note_given_up(self, number: int) -> None:
        """Note a line that the queue gave up."""
        self.given_up.append(number)

    def note_unwritten(self, numbers: list[int]) -> None:
        """Note the lines that were read and have no output at the end."""
        self.unwritten = numbers

    def note_handled(self, event: CollectorEvent) -> None:
        """Add the time of an event in its handlers."""
        self.in_handlers += event.service_time() / NANOSECONDS

    def note_in_handlers(self, seconds: float) -> None:
        """Set the time of all events in their handlers."""
        self.in_handlers = seconds

    def end(self) -> None:
        """Note that the run ends now."""
        self.ended = monotonic()

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
            return self._encoder.error(name, error or RuntimeError("no result"), replayed=replayed), True
        self.tally.note_handled(event)
        return self._encoder.results(name, results, replayed=replayed)

    def encode_result(self, name: int, result: Result[Any]) -> tuple[bytes, bool]:
        """Return the line of a result that is the only one of its event, and whether it failed."""
        return self._encoder.results(name, ResultList([result]))

    async def write(self, data: bytes) -> None:
        """Write lines; raises OSError, or BrokenPipeError if the reader has closed the pipe."""
        with self.progress.aside() if self._file.is_terminal else contextlib.nullcontext():
            await self._file.write(data)
