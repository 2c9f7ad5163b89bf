"""The progress of a stream: a bar on standard error, or the caller's function."""

from collections.abc import AsyncGenerator, Callable, Sized
from contextlib import aclosing
from typing import Any, Final, TypeAlias

from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.extras import import_extra
from event_collector.values.results import Result

Report: TypeAlias = Callable[[int, int | None, int], object]
"""Called with the number of results, the number of values or None, and the number of errors among the results."""

INTERVAL: Final = 0.1
"""Seconds between two reports."""


def reporting(
    results: AsyncGenerator[Result[Any], None], progress: bool | Report | None, values: object
) -> AsyncGenerator[Result[Any], None]:
    """Return the results of a stream of these values, whose progress is reported while they are taken.

    Args:
        results: the results.
        progress: True for a bar, a function for reports, None or False for neither.
        values: of the stream. Their number is known if they have a length.

    Raises:
        ConfigError: `progress` is of another kind, or it is True and rich is not installed.
    """
    if progress is None or progress is False:
        return results
    total = len(values) if isinstance(values, Sized) else None
    if progress is True:
        bar = _Bar(total)
        return _reported(results, bar.show, total, bar.close)
    if not callable(progress):
        raise ConfigError(f"progress takes True or a function of (done, total, errors), not {progress!r}")
    return _reported(results, progress, total)


async def _reported(
    results: AsyncGenerator[Result[Any], None],
    report: Report,
    total: int | None,
    close: Callable[[], object] = lambda: None,
) -> AsyncGenerator[Result[Any], None]:
    done = errors = 0
    due = 0.0
    try:
        async with aclosing(results):
            async for result in results:
                done += 1
                errors += result.is_error
                if (now := clock.now()) >= due:
                    due = now + INTERVAL
                    report(done, total, errors)
                yield result
        report(done, total, errors)
    finally:
        close()


class _Bar:
    """A bar on standard error. It begins with the first result, and stays where it is at the end."""

    def __init__(self, total: int | None) -> None:
        rich = import_extra("rich.progress", "progress")
        console = import_extra("rich.console", "progress").Console(stderr=True)
        columns = [rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn("{task.fields[errors]:,} errors")]
        columns += [rich.TimeElapsedColumn(), rich.TimeRemainingColumn()]
        self._bar = rich.Progress(*columns, console=console, auto_refresh=False)
        self._task = self._bar.add_task("", total=total, errors=0)

    def show(self, done: int, _total: int | None, errors: int) -> None:
        """Display the counts."""
        if not self._bar.live.is_started:
            self._bar.start()
        self._bar.update(self._task, completed=done, errors=errors, refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()
