"""Extras: optional parts of the package that need more distributions, and the errors when these are missing."""

from importlib import import_module
from typing import Any

from event_collector.values.errors import ConfigError

DISTRIBUTION = "event-collector-hybrid"


def install_line(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def missing(extra: str, needed: str) -> ImportError:
    """Return the error of a module whose required distribution is not installed."""
    return ImportError(f"event_collector.{extra} needs {needed}: {install_line(extra)}")


def import_extra(module: str, extra: str) -> Any:
    """Return a module of an extra; a ConfigError with the command that installs the extra if it is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != module.partition(".")[0]:
            raise
        raise ConfigError(f"{module} is not installed: {install_line(extra)}") from None
