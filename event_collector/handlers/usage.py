"""What the handler of one collector has taken so far."""

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # Covariant, so that a list of several collectors is a list of collectors for every type checker.
    P = TypeVar("P", default=Any, covariant=True)
    R = TypeVar("R", default=Any, covariant=True)
else:
    from typing import TypeVar

    P = TypeVar("P", covariant=True)
    R = TypeVar("R", covariant=True)

__all__ = ["Usage"]


class Usage:
    """What the handler of one collector has taken so far, in all; times in seconds."""

    __slots__ = ("completions", "errors", "running", "times", "waits", "wall")

    def __init__(self) -> None:
        self.completions = 0
        self.errors = 0
        """Attempts that failed; counted where their results reach the dispatcher."""
        self.running = 0
        self.wall = 0.0
        self.times: deque[float] | None = None
        """Seconds of the last events, where a queue with several collectors keeps them."""
        self.waits: deque[float] | None = None
        """Seconds from sending to the end of the last events, likewise."""

    def keep(self, events: int) -> None:
        """Keep the times of the last so many events, and forget the earlier ones."""
        self.times, self.waits = deque(maxlen=events), deque(maxlen=events)

    def finished(self, wall: float) -> None:
        """Note one event that took `wall` seconds."""
        self.completions += 1
        self.wall += wall
        if self.times is not None:
            self.times.append(wall)
