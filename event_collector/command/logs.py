"""Log lines of the command: format and destination."""

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

import structlog

from event_collector.handlers.running_event import add_event_context
from event_collector.life.logger import console_renderer

LEVELS = ("debug", "info", "warning", "error")


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


def configure(level: str) -> None:
    """Have structlog write lines from `level` up to standard error, those of the queue included."""
    structlog.configure(
        processors=[
            _drop_if_silenced,
            structlog.contextvars.merge_contextvars,
            add_event_context,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            console_renderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(_StandardError()),  # type: ignore[arg-type]  # wants a TextIO
    )
