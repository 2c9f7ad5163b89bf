"""The tally of a run: what was read, what came of it, and how that is told at the end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic

from event_collector.command.input_window import Entry
from event_collector.handlers.collector import ADAPTIVE, PROCESS
from event_collector.queue import CollectorQueue

__all__ = ["Tally", "ranges"]

FEW = 8
"""How many ranges of line numbers are named before the rest is only counted."""


@dataclass
class Tally:
    """Counts of one run. The intake writes `read`, the outlet the rest."""

    read: int = 0
    """The number of the last line that was taken in."""
    succeeded: int = 0
    failed: int = 0
    given_up: list[int] = field(default_factory=list)
    """The numbers of lines whose events the queue gave up; their output says so."""
    unwritten: list[int] = field(default_factory=list)
    """The numbers of lines that were read, and have no output."""
    bytes_done: int = 0
    """Bytes of input whose output is written."""
    in_handlers: float = 0.0
    """Seconds that events spent in handlers, in all."""
    workers: int = 0
    """The most worker processes there were to be at once."""
    began: float = field(default_factory=monotonic)
    ended: float | None = None

    def give_up(self, entry: Entry) -> None:
        """Note that the queue gave up a line; one of an earlier run has no number in this one."""
        if entry.number is not None and not entry.replayed:
            self.given_up.append(entry.number)

    @property
    def elapsed(self) -> float:
        """Seconds from the beginning to the end, or until now."""
        return (monotonic() if self.ended is None else self.ended) - self.began

    @property
    def events(self) -> int:
        """Events that came to their end, one way or the other."""
        return self.succeeded + self.failed

    @property
    def done(self) -> int:
        """How much of the input is done, in bytes."""
        return self.bytes_done

    @property
    def rate(self) -> float:
        """Events per second, since the beginning."""
        elapsed = self.elapsed
        return self.events / elapsed if elapsed > 0 else 0.0

    @property
    def unfinished(self) -> list[int]:
        """The numbers of the lines that were read and not done."""
        return sorted([*self.given_up, *self.unwritten])

    def look_at(self, queue: CollectorQueue) -> None:
        """Note how many workers the queue has; it remembers only its last changes."""
        if any(collector.mode in (PROCESS, ADAPTIVE) for collector in queue.collectors.values()):
            sizes = [int(change.after) for change in queue.changes() if change.subject == "workers"]
            self.workers = max(1, self.workers, *sizes)

    def summary(self, queue: CollectorQueue) -> str:
        """Return what is told at the end: events, errors, rate; for each mode its time, and the workers."""
        lines = [
            f"{_many(self.events, 'event')} in {self.elapsed:.2f} s ({self.rate:,.0f}/s), {_many(self.failed, 'error')}"
        ]
        for mode, seconds in self._busy(queue).items():
            workers = f", {_many(self.workers, 'worker')}" if mode in (PROCESS, ADAPTIVE) else ""
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
