"""Checks of the arguments of a feed. Each raises ConfigError."""

from typing import Any

from event_collector.handlers.retry import Retry
from event_collector.queue import CollectorQueue
from event_collector.values.checks import is_number
from event_collector.values.errors import ConfigError


def check_parts(queue: Any, source: Any, retry: Any) -> None:
    """Refuse what is no queue, no source or no Retry."""
    if not isinstance(queue, CollectorQueue):
        raise ConfigError(f"Feed takes a CollectorQueue, not {queue!r}")
    if not callable(getattr(source, "fetch", None)):
        raise ConfigError(f"Feed takes a source such as JetStreamSource, not {source!r}")
    if retry is not None and not isinstance(retry, Retry):
        raise ConfigError(f"Feed(retry=...) takes a Retry, such as Retry(max_attempts=5), not {retry!r}")


def check_at_least(least: int, **values: Any) -> None:
    """Refuse what is no number, or a smaller one."""
    for name, value in values.items():
        if not is_number(value) or not value >= least:
            raise ConfigError(f"Feed({name}=...) takes a number from {least} on, not {value!r}")
