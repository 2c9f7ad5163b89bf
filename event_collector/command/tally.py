"""The tally of a run: what was read, what came of it, and how that is told at the end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic

from event_collector.collector import PROCESS
from event_collector.publisher import CollectorEvent
from event_collector.queue import CollectorQueue

__all__ = ["Tally", "ranges"]

NANOSECONDS = 1e9
FEW = 8
"""How many ranges of line numbers are named before the rest is only counted."""


@dataclass
class Tally:
    """Counts of one run. The intake writes `read` and `taken`, the outlet the rest."""

    read: int = 0
    """The number of the last line that was taken in."""
    taken: int = 0
    """Lines taken in: all but the empty ones."""
    written: int = 0
    """Lines of output, those of failed events included."""
    failed: int = 0
    bytes_done: int = 0
    """Bytes of input whose output is written."""
    unfinished: list[int] = field(default_factory=list)
    """The numbers of lines whose events were given up."""
    in_handlers: float = 0.0
    """Seconds that events spent in handlers, in all."""
    workers: int = 0
    """The most worker processes there were to be at once."""
    began: float = field(default_factory=monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return monotonic() - self.began

    @property
    def rate(self) -> float:
        """Lines of output per second, since the beginning."""
        elapsed = self.elapsed
        return self.written / elapsed if elapsed > 0 else 0.0

    def finished(self, event: CollectorEvent) -> None:
        """Count the time of an event."""
        self.in_handlers += event.service_time() / NANOSECONDS

    def look_at(self, queue: CollectorQueue) -> None:
        """Note how many workers the queue has; it remembers only its last changes."""
        if any(collector.mode == PROCESS for collector in queue.collectors.values()):
            sizes = [int(change.after) for change in queue.changes() if change.subject == "workers"]
            self.workers = max(1, self.workers, *sizes)

    def summary(self, queue: CollectorQueue) -> str:
        """Return what is told at the end: events, errors, rate; for each mode its time, and the workers."""
        answered = self.written - len(self.unfinished)
        lines = [
            f"{_many(answered, 'event')} in {self.elapsed:.2f} s ({self.rate:,.0f}/s), {_many(self.failed, 'error')}"
        ]
        for mode, seconds in self._busy(queue).items():
            workers = f", {_many(self.workers, 'worker')}" if mode == PROCESS else ""
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


def ranges(numbers: Iterable[int]) -> str:
    """Return line numbers in words: "line 7", "lines 3-5, 9", and how many more where there are too many."""
    ordered = sorted(numbers)
    starts = [number for before, number in pairwise([-1, *ordered]) if number != before + 1]
    ends = [number for number, after in pairwise([*ordered, -1]) if after != number + 1]
    spans = list(zip(starts, ends, strict=True))
    text = ", ".join(str(start) if start == end else f"{start}-{end}" for start, end in spans[:FEW])
    more = sum(end - start + 1 for start, end in spans[FEW:])
    return f"{'line' if len(ordered) == 1 else 'lines'} {text}" + (f" and {more:,} more" if more else "")


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
