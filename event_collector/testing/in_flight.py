"""What is under way in threads, so that time that is moved by hand can wait for it."""

from typing import Any, Final

__all__ = ["IN_FLIGHT"]

IN_FLIGHT: Final[set[Any]] = set()
"""Jobs and calls that a thread will tell the event loop of. Written in the thread of the loop only."""
