"""Log lines of a queue: written by the structlog of the application, by its `logging`, or to standard error."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from inspect import iscoroutine
from typing import Any, Final, NoReturn, TextIO

import structlog

from event_collector.life.reports import REPORT
from event_collector.values.guarded import guarded

LOGGER: Final = "event_collector"
"""The logger of `logging` that gets the lines of all queues."""

_RECORD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


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

    The application's configuration of structlog applies, if there is one when the queue is made. Otherwise each line
    goes to the logger "event_collector" of `logging` if that or the root logger has a handler, else, from level info
    up, to standard error: readable if that is a terminal, else a JSON object. Reports of the metrics then go to
    standard output. If `enabled` is False, nothing is written.
    """
    if log is None:
        log = _logger(enabled).bind(logger=name)
    return GuardedLog(log)


def console_renderer(*, colors: bool) -> Any:
    """Return a processor that renders a line for a reader, with tracebacks and stacks below it."""
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def json_processors() -> list[Any]:
    """Return processors that render a line as a JSON object."""
    return [
        structlog.processors.format_exc_info,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(default=repr),
    ]


def readable_processors(*, colors: bool) -> list[Any]:
    """Return processors that render a line for a reader, with the time of the day."""
    return [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), console_renderer(colors=colors)]


def _logger(enabled: bool) -> Any:
    if enabled and structlog.is_configured():
        return structlog.get_logger()
    processors = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _pass_on]
    return structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=processors if enabled else [_drop],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
    )


def _pass_on(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> NoReturn:
    """Write a line; the last processor."""
    level = logging.getLevelNamesMapping()[event["level"].upper()]
    logger = logging.getLogger(LOGGER)
    if _has_handlers(logger):
        if logger.isEnabledFor(level):
            logger.handle(_record_of(logger, level, dict(event)))
    elif level >= logging.INFO:
        _write(sys.stdout if event.get("event") == REPORT else sys.stderr, event)
    raise structlog.DropEvent


def _has_handlers(logger: logging.Logger | None) -> bool:
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _record_of(logger: logging.Logger, level: int, event: dict[str, Any]) -> logging.LogRecord:
    """Return a record whose message has the fields of the line, which are attributes as well."""
    del event["level"]
    text, trace, exc_info = event.pop("event"), event.pop("exception", None), event.pop("exc_info", None)
    stack = event.pop("stack", None)
    message = " ".join([str(text), *(f"{name}={value!r}" for name, value in event.items() if name != "logger")])
    fields = {name: value for name, value in event.items() if name not in _RECORD and name != "logger"}
    info = (type(exc_info), exc_info, exc_info.__traceback__) if isinstance(exc_info, BaseException) else None
    extra = {"queue": event.get("logger"), **fields}
    record = logger.makeRecord(logger.name, level, __file__, 0, message, (), info, extra=extra)
    record.exc_text, record.stack_info = trace, stack
    return record


def _write(file: TextIO | None, event: MutableMapping[str, Any]) -> None:
    if file is None:  # a program without a console has none
        return
    rendered: Any = event
    for processor in readable_processors(colors=True) if _is_terminal(file) else json_processors():
        rendered = processor(None, "", rendered)
    file.write(f"{rendered}\n")
    file.flush()


def _is_terminal(file: Any) -> bool:
    try:
        return bool(file.isatty())
    except (AttributeError, ValueError, OSError):  # no file, a closed one
        return False


def _drop(_logger: Any, _method: str, _event: Any) -> NoReturn:
    raise structlog.DropEvent
