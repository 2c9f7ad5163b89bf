"""Extras: optional parts of the package that need another distribution, and the error where that is missing."""

__all__ = ["install_line", "missing"]

DISTRIBUTION = "event-collector-hybrid"


def install_line(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def missing(extra: str, needed: str) -> ImportError:
    """Return the error of a module that was imported without the distribution that it needs."""
    return ImportError(f"event_collector.{extra} needs {needed}: {install_line(extra)}")
