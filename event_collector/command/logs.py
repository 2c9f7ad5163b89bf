"""Where the command's log lines go, and what they look like."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from event_collector.handlers.running_event import add_event_context

__all__ = ["LEVELS", "configure", "silence"]

LEVELS = ("debug", "info", "warning", "error")


class _StandardError:
    """Standard error as it is at the moment of writing: a progress bar takes its place for a while."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _Gate:
    """The first of the processors, which lets lines through until it is closed."""

    closed = False

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if self.closed:
            raise structlog.DropEvent
        return event


_gate = _Gate()


def silence() -> None:
    """Write no more lines: nobody is interested in the rest."""
    _gate.closed = True


def configure(level: str) -> None:
    """Have structlog write lines from `level` up to standard error, those of the queue among them."""
    structlog.configure(
        processors=[
            _gate,
            structlog.contextvars.merge_contextvars,
            add_event_context,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(_StandardError()),  # type: ignore[arg-type]  # asks for a TextIO
    )
