"""Log lines through structlog, without touching the configuration of the application."""

import logging
import sys
from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

import structlog

from event_collector.values.guarded import guarded


class GuardedLog:
    """Writes log lines with a logger of structlog. A line that cannot be written stops nothing: the loop is told why.

    The lines of an asynchronous logger are written at once: tasks of their own would outlive the queue.
    """

    def __init__(self, log: Any) -> None:
        self._log = log

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: guarded("a log line", self._write, level, event, fields)

    def __repr__(self) -> str:
        return f"<GuardedLog {self._log!r}>"

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        outcome = getattr(self._log, level)(event, **fields)
        if iscoroutine(outcome):
            outcome.close()
            self._log = self._log.bind().sync_bl
            getattr(self._log, level)(event, **fields)


def make_logger(name: str, log: Any = None, *, enabled: bool = True) -> GuardedLog:
    """Return a logger that writes with `log`; without one, its lines carry `logger=name`.

    The application's configuration of structlog applies. Without one, each line of level info or above goes to standard
    output: readable if that is a terminal, else a JSON object. If `enabled` is False, nothing is written.
    """
    if log is None:
        log = _logger(enabled).bind(logger=name)
    return GuardedLog(log)


def console_renderer(*, colors: bool) -> Any:
    """Return a processor that renders a line for a reader, with tracebacks and stacks below it."""
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def _logger(enabled: bool) -> Any:
    out = sys.stdout
    if enabled and structlog.is_configured():
        return structlog.get_logger()
    if not enabled or out is None:  # a program without a console has none
        return structlog.wrap_logger(structlog.ReturnLogger(), processors=[_drop])
    processors: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level]
    if _is_terminal(out):
        processors += [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), console_renderer(colors=True)]
    else:
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(default=repr),
        ]
    return structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _is_terminal(file: Any) -> bool:
    try:
        return bool(file.isatty())
    except (AttributeError, ValueError, OSError):  # no file, a closed one
        return False


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
