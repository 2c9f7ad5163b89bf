"""The slowest attempts of the last minute."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Final

from event_collector.inspection.ended_attempt import EndedAttempt

MOST: Final = 30
"""Attempts that are kept."""
WINDOW: Final = 60.0
"""Seconds."""

_seconds = attrgetter("seconds")


class Slowest:
    """Keeps the slowest attempts.

    Attributes:
        bar: seconds that an attempt must exceed to be among them.
    """

    def __init__(self) -> None:
        self._attempts: list[EndedAttempt] = []
        self.bar = 0.0

    def __iter__(self) -> Iterator[EndedAttempt]:
        return iter(self._attempts)

    def __repr__(self) -> str:
        return f"<Slowest {len(self._attempts)} attempts over {self.bar:.6f} s>"

    def add(self, attempt: EndedAttempt) -> None:
        """Take an attempt if it is slow enough."""
        if attempt.seconds <= self.bar:
            return
        self._keep([*self._attempts, attempt])

    def forget(self, now: float) -> None:
        """Forget the attempts that ended more than a minute ago."""
        self._keep([one for one in self._attempts if now - one.ended <= WINDOW])

    def _keep(self, attempts: list[EndedAttempt]) -> None:
        self._attempts = sorted(attempts, key=_seconds, reverse=True)[:MOST]
        self.bar = self._attempts[-1].seconds if len(self._attempts) == MOST else 0.0
