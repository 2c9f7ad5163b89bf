"""Extremes of a value over a sliding span of time."""

from collections import deque


class RollingMaximum:
    """The largest value recorded within the last `span` seconds."""

    def __init__(self, span: float) -> None:
        self.span = span
        self._falling: deque[tuple[float, float]] = deque()  # falling values with rising times: the head is the largest

    def __repr__(self) -> str:
        return f"<RollingMaximum {self._falling[0][1] if self._falling else 0.0:g} over {self.span:g} s>"

    def resize(self, span: float) -> None:
        """Set the span in seconds."""
        self.span = span

    def record(self, now: float, value: float) -> None:
        """Add a value. `now` never decreases."""
        falling = self._falling
        while falling and falling[-1][1] <= value:
            falling.pop()
        falling.append((now, value))
        self._expire(now)

    def value(self, now: float) -> float:
        """Return the largest value of the span; 0.0 if there is none."""
        self._expire(now)
        return self._falling[0][1] if self._falling else 0.0

    def relaxes(self) -> float | None:
        """Return when the largest value leaves the span; None if there is no later, smaller value."""
        return self._falling[0][0] + self.span if len(self._falling) > 1 else None

    def clear(self) -> None:
        """Remove all values."""
        self._falling.clear()

    def _expire(self, now: float) -> None:
        falling = self._falling
        # The newest value never expires: it is valid until the next one is recorded.
        while len(falling) > 1 and falling[0][0] + self.span <= now:
            falling.popleft()


class RollingMinimum:
    """The smallest value recorded within the last `span` seconds."""

    def __init__(self, span: float) -> None:
        self._negated = RollingMaximum(span)

    def record(self, now: float, value: float) -> None:
        """Add a value. `now` never decreases."""
        self._negated.record(now, -value)

    def value(self, now: float) -> float:
        """Return the smallest value of the span; 0.0 if there is none."""
        return -self._negated.value(now)
