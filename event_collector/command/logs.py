"""Log lines of the command, its queue and its handlers: format, level and destination."""

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from event_collector.handlers.running_event import add_event_context
from event_collector.life.logger import json_processors, readable_processors

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")
DEFAULT_LEVEL: Final = "warning"


class _StandardError:
    """Standard error at the moment of writing: a progress bar replaces `sys.stderr` for a while."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_silenced = threading.Event()


def silence() -> None:
    """Drop all log lines from now on."""
    _silenced.set()


def _drop_if_silenced(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if _silenced.is_set():
        raise structlog.DropEvent
    return event


def configure(level: str | None, style: str) -> None:
    """Have structlog write lines from `level` up to standard error, those of the queue included.

    Call it before the target is imported: a configuration that this makes replaces ours.
    """
    structlog.configure(
        processors=[
            _drop_if_silenced,
            structlog.contextvars.merge_contextvars,
            add_event_context,
            structlog.processors.add_log_level,
            *_renderers(style),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.PrintLoggerFactory(_StandardError()),  # type: ignore[arg-type]  # wants a TextIO
    )


def configure_logging(level: str | None, style: str) -> None:
    """Have `logging` write the same lines, unless the target has configured it at import.

    A `level` that was given applies to the root logger in any case.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(_StandardError())
        handler.addFilter(lambda _record: not _silenced.is_set())
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[
                    structlog.stdlib.ExtraAdder(),
                    add_event_context,
                    structlog.stdlib.add_logger_name,
                    structlog.stdlib.add_log_level,
                    _take_trace,
                ],
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(style)],
            )
        )
        root.addHandler(handler)
        root.setLevel(_number(level))
    elif level is not None:
        root.setLevel(_number(level))


def _renderers(style: str) -> list[Any]:
    return json_processors() if style == "json" else readable_processors(colors=sys.stderr.isatty())


def _number(level: str | None) -> int:
    return logging.getLevelNamesMapping()[(level or DEFAULT_LEVEL).upper()]


def _take_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make the traceback of a record from a worker, which is a text, a part of the line."""
    record: logging.LogRecord = event["_record"]
    if record.exc_text and not record.exc_info:
        event["exception"], record.exc_text = record.exc_text, None
    return event
