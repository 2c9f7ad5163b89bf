"""The ids of events: unique within the program, increasing in the order of sending."""

import itertools
from collections.abc import Callable
from typing import Final


class EventIds:
    """Gives each event its id; one counter for all queues of the program.

    Attributes:
        next: returns the next id.
    """

    __slots__ = ("next",)

    next: Callable[[], int]

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin with 1 again, as a new program does."""
        self.next = itertools.count(1).__next__

    def take(self, count: int) -> int:
        """Return the first of `count` consecutive ids."""
        first = self.next()
        if count > 1:
            self.next = itertools.count(first + count).__next__
        return first

    def reserve(self, above: int) -> None:
        """Have all ids to come be higher than `above`."""
        self.next = itertools.count(max(self.next(), above + 1)).__next__


event_ids: Final = EventIds()
"""The ids of this program."""
