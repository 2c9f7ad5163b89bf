"""Extras: clients of brokers, imported where they are needed."""

from importlib import import_module
from typing import Any

from event_collector.exceptions import ConfigError

__all__ = ["import_extra"]


def import_extra(module: str, extra: str) -> Any:
    """Return a module that comes with an extra.

    Raises:
        ConfigError: it is not installed; the message has the command that installs it.

    """
    try:
        return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != module.partition(".")[0]:
            raise
        raise ConfigError(
            f"{module} is not installed: pip install 'event-collector-hybrid[{extra}]'"
        ) from None
