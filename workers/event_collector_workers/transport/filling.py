"""A value on its way into a segment, and the message that follows it."""

from collections.abc import Callable

from event_collector_workers.segments.segment import Segment


class Filling:
    """Copies a value into a segment, part by part, so that the event loop has its turn in between.

    Args:
        segment: Where the value goes.
        parts: The value.
        message: Sent when the value is there.
        give_up: Called if memory runs out; returns what is sent instead.
    """

    def __init__(
        self, segment: Segment, parts: list[memoryview], message: bytes, give_up: Callable[[], list[memoryview]]
    ) -> None:
        self.message, self.give_up = message, give_up
        self._segment, self._parts, self._at = segment, parts, 0
        self._size = sum(part.nbytes for part in parts)

    def __repr__(self) -> str:
        return f"<Filling {self._at} of {self._size} bytes in {self._segment!r}>"

    def __len__(self) -> int:
        return self._size - self._at

    def go_on(self, budget: int) -> int:
        """Copy or allocate up to so many bytes; return how many. Raises OSError if memory runs out."""
        if self._segment.allocated < self._size:
            return self._segment.allocate(budget)
        left = budget
        with memoryview(self._segment.mapping.memory) as memory:
            while left and self._parts:
                part = self._parts[0][:left]
                memory[self._at : self._at + part.nbytes] = part
                self._at += part.nbytes
                left -= part.nbytes
                if part.nbytes == self._parts[0].nbytes:
                    del self._parts[0]
                else:
                    self._parts[0] = self._parts[0][part.nbytes :]
        return budget - left

    @property
    def is_over(self) -> bool:
        """Whether the value is there."""
        return not self._parts
