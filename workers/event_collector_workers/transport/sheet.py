"""The sheet of a shared page: the outcomes of the items of a chunk, from the end of an item until a record has them.

A chunk is a list of items that a worker runs one after the other. Their outcomes travel together, in one record. Until
then each one is here, so that an item that has ended has its outcome however the worker ends.

    word       written by   meaning
    KEPT       worker       outcomes on the sheet (the bits from 17 on), and their bytes (the others)
    KEPT_FROM  worker       sequence number of the item of the first one; written while KEPT is 0

The parent reads the sheet of a dead worker, and that of a living one which has been in one item for long. It reads
KEPT_FROM again after the bytes: it only grows, so bytes that were replaced meanwhile are noticed.
"""

from typing import Final, NamedTuple

OUTCOMES_SIZE: Final = 64 * 1024
"""Bytes of outcomes on a sheet. A longer outcome travels in a record of its own."""
MOST_OUTCOMES: Final = 4096
"""Outcomes on a sheet. As many small ones as make up some milliseconds of work."""
LONG: Final = 0.002
"""Seconds in an item after which the parent looks at the sheet, once. The worker leaves a record at the item's end."""
_TIMES_SIZE: Final = 4 * MOST_OUTCOMES
SHEET_SIZE: Final = OUTCOMES_SIZE + _TIMES_SIZE

_KEPT: Final = 8
_KEPT_FROM: Final = 9
_SIZE_BITS: Final = 17
"""Bits of KEPT for the bytes. The whole has 30: Python calculates twice as fast with such a number."""
_SIZE_MASK: Final = (1 << _SIZE_BITS) - 1


class Kept(NamedTuple):
    """Outcomes of consecutive items."""

    first: int
    """The sequence number of the first item."""
    length: int
    times: bytes
    """The seconds of each item, as floats of 4 bytes."""
    outcomes: bytes
    """The outcomes, one after the other, encoded as the task encodes them."""

    def seconds(self) -> list[float]:
        """Return the seconds of each item."""
        return list(memoryview(self.times).cast("f"))


class _Sheet:
    """The memory of either side."""

    def __init__(self, words: memoryview, memory: memoryview) -> None:
        self.use(words, memory)

    def use(self, words: memoryview, memory: memoryview) -> None:
        """Use other memory from now on."""
        self._words, self._outcomes = words, memory[:OUTCOMES_SIZE]
        self._times = memory[OUTCOMES_SIZE:].cast("f")

    def close(self) -> None:
        """Release the memory. Idempotent."""
        self._outcomes.release()
        self._times.release()

    def _read(self, first: int, kept: int) -> Kept:
        count, size = kept >> _SIZE_BITS, kept & _SIZE_MASK
        return Kept(first, count, self._times[:count].tobytes(), bytes(self._outcomes[:size]))


class WorkerSheet(_Sheet):
    """The worker's side."""

    def begin(self, first: int) -> None:
        """Empty the sheet; the next outcome is that of the item with this sequence number."""
        self._words[_KEPT] = 0
        self._words[_KEPT_FROM] = self._first = first
        self._count = self._end = 0

    def add(self, outcome: bytes, seconds: float) -> bool:
        """Keep the outcome of the next item. Return False if there is no room."""
        at, count = self._end, self._count
        end = at + len(outcome)
        if end > OUTCOMES_SIZE or count == MOST_OUTCOMES:
            return False
        self._outcomes[at:end] = outcome
        self._times[count] = seconds
        self._end, self._count = end, count + 1
        self._words[_KEPT] = (count + 1) << _SIZE_BITS | end
        return True

    def take(self) -> Kept:
        """Return what is on the sheet. It stays there until `begin()`, so that the record can be written before."""
        return self._read(self._first, self._count << _SIZE_BITS | self._end)


class ParentSheet(_Sheet):
    """The parent's side."""

    def look(self) -> Kept | None:
        """Return what is on the sheet; None if that is nothing, or changes at this moment."""
        words = self._words
        kept, first = words[_KEPT], words[_KEPT_FROM]
        if not kept:
            return None
        found = self._read(first, kept)
        # The count may have grown: that appends. A new round changes KEPT_FROM, or has emptied the sheet before.
        return found if words[_KEPT_FROM] == first and words[_KEPT] >= kept else None
