"""Log records of a worker: sent to the program, in place of the handlers that it has as well.

This is imported when, and only if, the worker has imported `logging`.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from event_collector_workers.error_texts import encodable, exception_text, text_of
from event_collector_workers.transport.outlet import LARGEST, Outlet, Output
from event_collector_workers.transport.records import LogLevels, LogLine, encode_line, plain_fields

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class OutletHandler(logging.Handler):
    """Sends each record. `describe` returns the fields of the running event."""

    def __init__(self, outlet: Outlet, describe: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._outlet, self._describe = outlet, describe

    def createLock(self) -> None:  # noqa: N802 - the name is logging's
        """Use no lock: sending needs none, and a fork could inherit it locked."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Send the record, unless a filter drops it."""
        if not self.filter(record):
            return False
        try:
            self.emit(record)
        except Exception:
            self.handleError(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record."""
        line = self._line_of(record)
        body = encode_line(line)
        if len(body) > LARGEST:
            body = encode_line(replace(line, extra={}, stack=None))
        self._outlet.send(Output.LOG, body)

    def _line_of(self, record: logging.LogRecord) -> LogLine:
        extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        return LogLine(
            name=encodable(record.name),
            level=record.levelno,
            level_name=encodable(record.levelname),
            message=text_of(record.getMessage()),
            created=record.created,
            path=encodable(record.pathname),
            line=record.lineno,
            function=record.funcName,
            thread=record.thread,
            thread_name=record.threadName and encodable(record.threadName),
            process_name=record.processName,
            task_name=getattr(record, "taskName", None),
            trace=_trace_of(record),
            stack=record.stack_info and text_of(record.stack_info),
            extra=plain_fields({**self._describe(), **extra}),
        )


def _trace_of(record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[1] is not None:
        return exception_text(record.exc_info[1]).rstrip("\n")
    return record.exc_text and text_of(record.exc_text)


class LogForwarding:
    """Has the records of a worker sent, and not handled by what was configured at import.

    The program has imported the same modules, so it has the same handlers. Handlers that a lifecycle or a handler adds
    later are the worker's own, and stay.
    """

    def __init__(self, outlet: Outlet, describe: Callable[[], dict[str, Any]], levels: LogLevels) -> None:
        self._handler = OutletHandler(outlet, describe)
        self._levels = levels
        self._own: set[logging.Handler] = {self._handler}

    def __repr__(self) -> str:
        return f"<LogForwarding {len(self._own) - 1} handlers of the worker's own>"

    def note_own(self) -> None:
        """Note that the handlers of this moment were not added at import."""
        self._own.update(handler for logger in _loggers() for handler in logger.handlers)

    def adopt(self) -> None:
        """Take away the handlers that were added at import, and take over the levels of the program."""
        for logger in _loggers():
            removed = [each for each in logger.handlers if each not in self._own]
            for handler in removed:
                if not isinstance(handler, logging.NullHandler):
                    logger.removeHandler(handler)
            if logger is logging.root or (removed and not logger.propagate):
                logger.addHandler(self._handler)
        for name, level in self._levels.loggers.items():
            logging.getLogger(name or None).setLevel(level)
        logging.disable(self._levels.disabled)

    def take_levels(self, levels: LogLevels) -> None:
        """Take over the levels that have changed in the program. Others may be the worker's own."""
        before, self._levels = self._levels, levels
        for name in {**before.loggers, **levels.loggers}:
            level = levels.loggers.get(name, logging.NOTSET)
            if level != before.loggers.get(name, logging.NOTSET):
                logging.getLogger(name or None).setLevel(level)
        if levels.disabled != before.disabled:
            logging.disable(levels.disabled)


def _loggers() -> list[logging.Logger]:
    named = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(each for each in named if isinstance(each, logging.Logger))]
