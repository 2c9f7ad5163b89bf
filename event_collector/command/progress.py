"""The progress of a run on standard error: a bar on a terminal, plain lines elsewhere, or nothing."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from event_collector.watching.tables import plural

BAR_INTERVAL = 0.1


class ProgressCounts(NamedTuple):
    """Finished events, those of them that failed, events per second, and the finished part of the total."""

    events: int
    failed: int
    rate: float
    done: float


class ProgressDisplay:
    """Displays the progress of a run: this one nothing."""

    interval = 1.0  # seconds between two calls of `show()`

    def show(self, counts: ProgressCounts) -> None:
        """Display the counts."""

    def aside(self) -> AbstractContextManager[None]:
        """Return a context in which output may be written to the terminal."""
        return contextlib.nullcontext()

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""


class _ProgressLines(ProgressDisplay):
    def __init__(self, interval: float, total: float | None) -> None:
        self.interval = interval
        self._total = total

    def show(self, counts: ProgressCounts) -> None:
        share = f", {counts.done / self._total:.0%}" if self._total else ""
        events, errors = plural(counts.events, "event"), plural(counts.failed, "error")
        text = f"{events}, {errors}, {counts.rate:,.0f}/s{share}"
        print(text, file=sys.stderr, flush=True)


class _ProgressBar(ProgressDisplay):
    """A bar at the bottom of a terminal, erased at the end. With a total it shows the remaining time."""

    def __init__(self, total: float | None) -> None:
        # rich is optional, and slow to import.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns: list[Any] = [
            SpinnerColumn(),
            TextColumn("{task.fields[events]:,} events"),
            TextColumn("{task.fields[failed]:,} errors"),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            BarColumn(),
            TimeElapsedColumn(),
        ]
        if total:
            columns += [TextColumn("left:"), TimeRemainingColumn()]
        self.interval = BAR_INTERVAL
        self._total = total
        self._bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        self._task = self._bar.add_task("", total=total, events=0, failed=0, rate=0.0)
        self._is_visible = True  # between start() and stop(); False while output is written to the terminal
        self._bar.start()

    def show(self, counts: ProgressCounts) -> None:
        events, failed, rate, done = counts
        completed = min(done, self._total or 0)
        self._bar.update(self._task, completed=completed, events=events, failed=failed, rate=rate)
        if self._is_visible:
            self._bar.refresh()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        self.close()
        try:
            yield
        finally:
            self._bar.start()
            self._is_visible = True

    def close(self) -> None:
        self._is_visible = False
        self._bar.stop()


def make_display(total: float | None, *, quiet: bool, interval: float) -> ProgressDisplay:
    """Return the display that suits standard error.

    `total` is the value of `done` at the end, if known; plain lines are printed every `interval` seconds.
    """
    if quiet:
        return ProgressDisplay()
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        return _ProgressBar(total)
    return _ProgressLines(interval, total)
