"""Log lines through structlog, without touching the configuration of the application."""

import logging
import sys
from typing import Any

import structlog


def make_logger(name: str, *, enabled: bool = True) -> Any:
    """Return a logger whose lines carry `logger=name`.

    The application's configuration of structlog applies. Without one, each line of level info or above is a JSON
    object on standard output. If `enabled` is False, or standard output is closed, nothing is written.
    """
    if enabled and structlog.is_configured():
        return structlog.get_logger().bind(logger=name)
    if not enabled or sys.stdout is None:
        return structlog.wrap_logger(structlog.ReturnLogger(), processors=[_drop])
    logger = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(default=repr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return logger.bind(logger=name)


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
