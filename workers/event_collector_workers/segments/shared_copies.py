"""Copies of large values in memory that any worker of a pool can map: a value is copied once, when it is sent.

    take() --fill()--> the program has a view --lend()--> and a worker has one, or several --> free, when none has

New pages take ten times as long as the copy, and the event loop waits for both. So a large copy is made in private
memory until there is a segment whose pages are there; segments are prepared for the next values of such a size.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

from event_collector_workers.segments.private_copies import fill, private_copy
from event_collector_workers.segments.segment import Segment
from event_collector_workers.segments.segment_sizes import SHARED_FROM, size_for, suits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from event_collector_workers.job import Buffer

_AT_ONCE: Final = 10 << 20
"""Bytes of new pages that a copy waits for."""
_STEP: Final = 1 << 20
"""Bytes of new pages in one turn of the event loop."""


class SharedCopy(Segment):
    """A segment with a value that any worker may read. Several may at the same time.

    Raises OSError as Segment does.
    """

    is_for_one = False

    __slots__ = ("_nbytes", "_users", "is_spoilt", "used")

    def __init__(self, size: int) -> None:
        super().__init__(size, is_for_results=False)
        self._nbytes = self._users = 0
        self.is_spoilt = False
        """Whether a fork sees it, of the program or of a worker, so that it must not be used again."""
        self.used = monotonic()
        """When a value was copied into it last."""

    @property
    def is_free(self) -> bool:
        """Whether it has no value that anything may still look at."""
        return not self._users and not self.mapping.is_seen

    @property
    def is_ready(self) -> bool:
        """Whether a value can be copied into it: it is free, and its pages are there."""
        return self.allocated == self.size and not self.is_spoilt and self.is_free

    def fill(self, parts: Sequence[Buffer]) -> memoryview:
        """Copy the parts into it, one after the other; return a read-only view of them."""
        self._nbytes, self.used = fill(self.mapping.memory, parts), monotonic()
        return self.mapping.view(self._nbytes).toreadonly()

    def has_all_of(self, view: memoryview) -> bool:
        """Return whether this is the view that `fill()` has returned, and not a part of it."""
        return view.obj is self.mapping.memory and view.nbytes == self._nbytes

    def lend(self) -> None:
        """Note that a worker has it."""
        self._users += 1

    def give_back(self) -> None:
        """Note that this worker has it no more."""
        self._users -= 1

    def spoil(self) -> None:
        """Note that a fork sees what is in it. Any thread may call this."""
        self.is_spoilt = True


class SharedCopies:
    """The copies of one pool. Only this class writes its fields, in the loop's thread.

    Args:
        has_room: Returns whether there may be so many bytes more.
        on_dropped: Called with a copy that is given up.
        refresh: Called before one is looked for, to have those given back that workers have no more.
    """

    def __init__(
        self, has_room: Callable[[int], bool], on_dropped: Callable[[SharedCopy], None], refresh: Callable[[], None]
    ) -> None:
        self._has_room, self._on_dropped, self._refresh = has_room, on_dropped, refresh
        self._copies: dict[int, SharedCopy] = {}  # by the identity of their mappings
        self._preparing: SharedCopy | None = None
        self._missed = 0  # bytes of the last value for which there was none
        self.size = 0
        """Bytes of all of them."""

    def __repr__(self) -> str:
        return f"<SharedCopies {len(self)} of {self.size} bytes>"

    def __len__(self) -> int:
        return len(self._copies)

    def copy(self, parts: Sequence[Buffer]) -> memoryview:
        """Return the bytes of the parts, one after the other, in read-only memory of their own."""
        size = sum(map(len, parts))
        segment = self._take(size) if size >= SHARED_FROM else None
        return private_copy(parts) if segment is None else segment.fill(parts)

    def find(self, view: memoryview) -> SharedCopy | None:
        """Return what has exactly this value in it, if a worker may map that."""
        copy = self._copies.get(id(view.obj))
        return copy if copy is not None and copy.has_all_of(view) and not copy.is_spoilt else None

    def in_use(self) -> int:
        """Return the bytes of those that something looks at."""
        return sum(copy.size for copy in self._copies.values() if not copy.is_free)

    def shrink(self, before: float) -> None:
        """Give up those that are free and were not used since this time, and spoilt ones, in monotonic seconds."""
        for copy in list(self._copies.values()):
            if copy.is_free and (copy.used <= before or copy.is_spoilt) and copy is not self._preparing:
                self._drop(copy)

    def spoil_seen(self) -> None:
        """Never use again what can be seen now. Any thread may call this."""
        for copy in list(self._copies.values()):
            if copy.mapping.is_seen:
                copy.spoil()

    def forget(self) -> None:
        """Let go of all of them. Their memory stays for as long as anything looks into it."""
        for copy in self._copies.values():
            copy.close_file()
        self._copies, self._preparing, self.size = {}, None, 0

    def _take(self, size: int) -> SharedCopy | None:
        """Return one for a value of this size whose pages are there."""
        self._refresh()
        ready = [copy for copy in self._copies.values() if suits(copy.size, size) and copy.is_ready]
        if ready:
            return max(ready, key=lambda copy: copy.used)  # it is in the caches yet
        is_usual, self._missed = suits(size_for(size), self._missed), size
        if size <= _AT_ONCE:
            return self._make(size, prepared=True)
        if is_usual and self._preparing is None:
            self._preparing = self._make(size, prepared=False)
            self._go_on()
        return None

    def _make(self, size: int, *, prepared: bool) -> SharedCopy | None:
        """Make one, with its pages or without. None: there may be no more, or memory or descriptors have run out."""
        size = size_for(size)
        if not self._has_room(size):
            self.shrink(monotonic())
            if not self._has_room(size):
                return None
        try:
            copy = SharedCopy(size)
        except OSError:
            return None
        try:
            copy.allocate(size if prepared else 0)
        except OSError:
            copy.close_file()
            return None
        self._copies[id(copy.mapping.memory)] = copy
        self.size += size
        return copy

    def _go_on(self) -> None:
        """Prepare the next pages."""
        copy = self._preparing
        if copy is None:
            return
        try:
            copy.allocate(_STEP)
        except OSError:
            self._preparing = None
            self._drop(copy)
            return
        if copy.allocated < copy.size:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._preparing = None

    def _drop(self, copy: SharedCopy) -> None:
        del self._copies[id(copy.mapping.memory)]
        self.size -= copy.size
        copy.close_file()
        self._on_dropped(copy)
