"""The progress of a run on standard error: a bar on a terminal, a plain line now and then, or nothing."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Bar", "Counts", "Lines", "Progress", "Silence", "make_progress"]

BAR_INTERVAL = 0.1


class Counts(Protocol):
    """What is shown."""

    @property
    def events(self) -> int:
        """Events that came to their end."""

    @property
    def failed(self) -> int:
        """Of these, those that failed."""

    @property
    def rate(self) -> float:
        """Events per second."""

    @property
    def done(self) -> int:
        """How much of the total is done."""


class Progress(Protocol):
    """Shows how far a run is."""

    interval: float
    """Seconds between two calls of `show()`."""

    def show(self, tally: Counts) -> None:
        """Show the counts of this instant."""

    def aside(self) -> AbstractContextManager[None]:
        """Return a context in which the terminal is free for output."""

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""


class Silence:
    """Shows nothing."""

    interval = 1.0

    def show(self, tally: Counts) -> None:
        """Show nothing."""

    def aside(self) -> AbstractContextManager[None]:
        """Return a context that changes nothing."""
        return contextlib.nullcontext()

    def close(self) -> None:
        """Nothing to leave."""


class Lines(Silence):
    """Prints a line now and then.

    Args:
        interval: seconds between two lines, and before the first.
        total: what `done` will be at the end, if known.

    """

    def __init__(self, interval: float, total: int | None) -> None:
        self.interval = interval
        self._total = total

    def show(self, tally: Counts) -> None:
        """Print a line."""
        share = f", {tally.done / self._total:.0%}" if self._total else ""
        text = f"{tally.events:,} events, {tally.failed:,} errors, {tally.rate:,.0f}/s{share}"
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A bar at the bottom of a terminal, which is gone at the end.

    Args:
        total: what `done` will be at the end, if known: then it shows how much is left.

    """

    def __init__(self, total: int | None) -> None:
        # rich takes a while to import, and not everybody has it.
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

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
        self._bar = RichProgress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        self._task = self._bar.add_task("", total=total, events=0, failed=0, rate=0.0)
        self._shown = True  # between start() and stop(); False while the terminal is needed for output
        self._bar.start()

    def show(self, tally: Counts) -> None:
        """Draw the bar anew."""
        done = min(tally.done, self._total or 0)
        self._bar.update(
            self._task, completed=done, events=tally.events, failed=tally.failed, rate=tally.rate
        )
        if self._shown:
            self._bar.refresh()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away for as long as the context lasts."""
        self.close()
        try:
            yield
        finally:
            self._bar.start()
            self._shown = True

    def close(self) -> None:
        """Take the bar away."""
        self._shown = False
        self._bar.stop()


def make_progress(total: int | None, *, quiet: bool, interval: float) -> Progress:
    """Return what suits standard error.

    Args:
        total: what `done` will be at the end, if known.
        quiet: show nothing.
        interval: seconds between two plain lines.

    """
    if quiet:
        return Silence()
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        return Bar(total)
    return Lines(interval, total)
