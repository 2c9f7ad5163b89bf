"""Duplicates: which messages this program has finished a short while ago."""

from collections import OrderedDict

__all__ = ["DuplicateWindow"]


class DuplicateWindow:
    """Ids, each for a while.

    Args:
        seconds: how long an id is remembered; 0 for not at all.
        most: how many are remembered; the oldest makes room for a new one.

    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._ends: OrderedDict[str, float] = OrderedDict()  # the oldest first

    def add(self, id_: str, now: float) -> None:
        """Remember an id from now on."""
        if self._seconds <= 0:
            return
        self._ends[id_] = now + self._seconds
        self._ends.move_to_end(id_)
        self._forget(now)

    def has(self, id_: str, now: float) -> bool:
        """Return whether the id is remembered."""
        end = self._ends.get(id_)
        return end is not None and now < end

    def _forget(self, now: float) -> None:
        ends = self._ends
        while ends and (len(ends) > self._most or next(iter(ends.values())) <= now):
            ends.popitem(last=False)

    def __len__(self) -> int:
        return len(self._ends)
