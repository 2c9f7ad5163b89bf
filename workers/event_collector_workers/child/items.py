"""The items of a chunk in a worker: which one runs, and where the outcomes of those that have ended are.

An item is claimed in the shared page like a job, and its outcome is on the sheet of the page before the next one is
claimed. So each item has a start of its own, can be taken back until it begins, and keeps its outcome if the worker
dies. Outcomes leave the sheet in one record: at the end of the chunk, when the sheet is full, and after a while.
"""

from __future__ import annotations

from struct import pack
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from event_collector_workers.transport.frames import Outcome, encode
from event_collector_workers.transport.sheet import LONG, Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from event_collector_workers.job import Blob, Buffer
    from event_collector_workers.transport.page import WorkerPage

T = TypeVar("T")

_A_WHILE: Final = 30_000_000
"""Nanoseconds for which outcomes stay on the sheet. Chunks are made for less, so most of them need one record."""

_LONG: Final = int(LONG * 1e9)


class Desk(Protocol):
    """What sends records."""

    def leave(self, record: bytes, blob: Blob | None, *, aside: bool) -> bool:
        """Leave a record where it survives this process; return whether that is the socket. `aside`: it must be."""

    def announce(self) -> None:
        """Announce records if that is due. A fence precedes the call."""


class ItemRun:
    """Runs through the items of one chunk, whose first one has the number `first`."""

    def __init__(self, page: WorkerPage, desk: Desk, first: int, count: int) -> None:
        self._page, self._desk, self._sheet = page, desk, page.sheet
        self._first, self._end = first, first + count
        self._number = first - 1  # of the current item
        self._since = self._left_at = monotonic_ns()
        self._is_aside = False  # whether records go through the socket: a later one must not overtake an earlier one
        self._has_news = True  # records may be unannounced
        self._sheet.begin(first)

    @property
    def index(self) -> int:
        """The place of the current item in the chunk."""
        return self._number - self._first

    def begin(self) -> bool:
        """Begin the first item. Return False if it was taken back."""
        return self._begin_next(self._since)

    def keep(self, outcome: bytes) -> bool:
        """End the current item with this outcome, and begin the next one. Return False if none is to be run."""
        now = monotonic_ns()
        seconds = (now - self._since) * 1e-9
        if not self._sheet.add(outcome, seconds):
            self._flush(self._number)
            if not self._sheet.add(outcome, seconds):
                alone = Kept(self._number, 1, pack("f", seconds), outcome)
                self._leave(Outcome.ITEMS, 0.0, encode(alone), None)
                self._sheet.begin(self._number + 1)
        if now - self._since > _LONG or now - self._left_at > _A_WHILE:
            self._flush(self._number + 1)
        return self._begin_next(now)

    def keep_each(self, inputs: Iterator[T], outcome_of: Callable[[T], bytes | None]) -> bool:
        """Do what `keep()` does with the outcome of each input, the first one that of the current item.

        Return True as soon as there is None in place of an outcome: then `answer()` or `keep()` ends that item. Return
        False when no item is to be run.
        """
        end, left_at = self._end, self._left_at
        add, begin = self._sheet.add, self._page.begin
        since, number = self._since, self._number
        for each in inputs:
            outcome = outcome_of(each)
            if outcome is None:
                return True
            now = monotonic_ns()
            elapsed = now - since
            if elapsed > _LONG or now - left_at > _A_WHILE or self._has_news or not add(outcome, elapsed * 1e-9):
                if not self.keep(outcome):
                    return False
                left_at, since, number = self._left_at, self._since, self._number
            else:
                self._since = since = now
                self._number = number = number + 1
                if number == end or not begin(number, now):
                    return False
        return False

    def answer(self, body: Buffer, blob: Blob | None) -> bool:
        """End the current item with an outcome that travels in a record of its own, and begin the next one."""
        self._flush(self._number)
        now = monotonic_ns()
        self._leave(Outcome.ITEM, (now - self._since) * 1e-9, encode((self._number, body)), blob)
        self._sheet.begin(self._number + 1)
        return self._begin_next(monotonic_ns())

    def end(self) -> None:
        """End the chunk. Items that were not begun are skipped."""
        self._leave(Outcome.ENDED, 0.0, encode(self._sheet.take()), None)
        self._sheet.begin(self._end)

    def _begin_next(self, now: int) -> bool:
        self._number = number = self._number + 1
        self._since = now
        if number == self._end:
            return False
        is_ours = self._page.begin(number, now)
        if self._has_news:
            self._has_news = False
            self._desk.announce()
        return is_ours

    def _flush(self, following: int) -> None:
        """Leave the outcomes on the sheet, if any. The next one to be kept is that of the item `following`."""
        kept = self._sheet.take()
        if kept.length:
            self._leave(Outcome.ITEMS, 0.0, encode(kept), None)
            self._sheet.begin(following)

    def _leave(self, outcome: Outcome, seconds: float, body: bytes, blob: Blob | None) -> None:
        record = encode((self._first, outcome, seconds, body))
        self._is_aside = self._desk.leave(record, blob, aside=self._is_aside)
        self._has_news = True
        self._left_at = monotonic_ns()
