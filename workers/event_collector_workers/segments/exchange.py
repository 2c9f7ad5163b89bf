"""The segments that the program shares with one worker: which are free, and who may use the others.

    for copies     free --lend_copy()--> lent to this worker --the worker has noted its return--> free here
    for payloads   free --lend()--> lent --the worker has noted its return--> free
    for results    free --grant()--> granted --a result arrives: accept()--> held --nothing looks into it--> free

Each use has a number of its own, its *lease*. The worker notes in the shared page which leases have ended, so that the
program learns it without a message. It notes with the bit RETIRED that the memory must not be used again: a fork of the
worker sees it. A worker that ends takes its segments along, so what it leaves half written is never read, and what
its forks still see is never overwritten.
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from event_collector_workers.segments.segment_sizes import RETIRED, SLOTS, size_for, suits
from event_collector_workers.segments.shared_copies import SharedCopy

if TYPE_CHECKING:
    from event_collector_workers.segments.segment import Segment
    from event_collector_workers.segments.shared_memory import SharedMemory

_SPARE: Final = 2
"""Segments for results of the usual size that the worker has in advance: it fills one while the other is on its way."""
_MOST_SPARE: Final = 6
"""Segments for results of any size that the worker has in advance."""

_MAPPED: Final = 64 << 20
"""Bytes of copies that a worker has mapped, at most, or a few copies. Its address space may be limited."""
_FEW: Final = 4


class GrantPage(Protocol):
    """The shared page, as it is used here."""

    @property
    def refuses_segments(self) -> bool:
        """Whether the worker cannot have any, or no more."""

    def returned(self, slot: int) -> int:
        """Return the lease that has ended last."""

    def grant(self, slot: int, lease: int) -> None:
        """Let the worker put a result into a segment."""


class Announce(Protocol):
    """Tells the worker of segments, in order with the messages that use them."""

    def added(self, slot: int, size: int, lease: int, *, is_for_results: bool) -> None:
        """Tell it of a segment, whose descriptor was sent. Earlier leases of its slot, up to this one, are over."""

    def removed(self, slot: int) -> None:
        """Have it unmap a segment, and return a grant that it has not used."""


class Exchange:
    """Holds the segments of one worker. Only this class writes its fields, in the loop's thread.

    Raises OSError if descriptors have run out.
    """

    def __init__(self, memory: SharedMemory, page: GrantPage, announce: Announce) -> None:
        self._memory, self._page, self._announce = memory, page, announce
        self._slots: dict[Segment, int] = {}
        self._copies: dict[SharedCopy, int] = {}  # with their leases, 0 if they are not lent; the last was lent last
        self._free: dict[Segment, float] = {}  # since when, in monotonic seconds; the last one is the warmest
        self._lent: dict[Segment, int] = {}  # with their leases
        self._granted: dict[Segment, tuple[int, float]] = {}  # with their leases, and since when
        self._recalled: dict[Segment, int] = {}  # granted before; the worker may still be using them
        self._held: set[Segment] = set()
        self._spoilt: set[Segment] = set()  # held, and not to be used again: the worker or a fork has other plans
        self._leases = 0
        self._outlet: socket.socket | None = None
        self._inlet: socket.socket | None = None
        if memory.limit:
            self._outlet, self._inlet = socket.socketpair()
            self._outlet.setblocking(False)
        memory.add(self)

    def __repr__(self) -> str:
        return (
            f"<Exchange free={len(self._free)} lent={len(self._lent)} granted={len(self._granted)} "
            f"held={len(self._held)}>"
        )

    def take_inlet(self) -> list[int]:
        """Return the descriptor of the socket through which the worker gets descriptors, if there is one."""
        return [] if self._inlet is None else [self._inlet.fileno()]

    def close_inlet(self) -> None:
        """Close the worker's end in this process. Idempotent."""
        if self._inlet is not None:
            self._inlet.close()

    def lend_copy(self, view: memoryview) -> tuple[int, int] | None:
        """Let the worker read a value that is in shared memory already. Return slot and lease; None if it is not."""
        copy = self._memory.copy_in(view)
        if copy is None or self._outlet is None or self._page.refuses_segments:
            return None
        self.collect()
        if self._copies.get(copy) or copy.is_spoilt:  # one lease at a time, since the last one tells of all
            return None
        if copy not in self._slots:
            self._make_room(copy.size)
            if not self._send_descriptor(copy):
                return None
        self._leases += 1
        self._copies.pop(copy, None)
        self._copies[copy] = self._leases
        copy.lend()
        return self._slots[copy], self._leases

    def lend(self, nbytes: int) -> tuple[Segment, int, int] | None:
        """Return a segment for a payload, its slot and its lease; None if there is none."""
        if self._outlet is None or self._page.refuses_segments:
            return None
        self.collect()
        segment = self._find(nbytes, is_for_results=False)
        if segment is None:
            return None
        self._leases += 1
        self._lent[segment] = self._leases
        return segment, self._slots[segment], self._leases

    def accept(self, slot: int, lease: int, nbytes: int) -> memoryview:
        """Return the result that the worker has put into a segment. Raises ValueError if it was not to use that."""
        segment = next((each for each, place in self._slots.items() if place == slot), None)
        if segment is None or nbytes > segment.size:
            raise ValueError(f"a result in segment {slot}, which has no room for it")
        if self._recalled.pop(segment, 0) == lease:
            self._spoilt.add(segment)  # the worker unmaps it
        elif self._granted.pop(segment, (0,))[0] != lease:
            raise ValueError(f"a result in segment {slot}, which was not granted")
        self._held.add(segment)
        return segment.mapping.view(nbytes)

    def grant(self, nbytes: int) -> None:
        """Let the worker have segments in advance for results like the last one."""
        if self._outlet is None or self._page.refuses_segments:
            return
        self.collect()
        missing = _SPARE - sum(suits(segment.size, nbytes) for segment in self._granted)
        for _ in range(missing):
            segment = self._find(nbytes, is_for_results=True)
            if segment is None:
                return
            self._leases += 1
            self._granted[segment] = self._leases, monotonic()
            self._page.grant(self._slots[segment], self._leases)
        while len(self._granted) > _MOST_SPARE:
            self._recall(next(iter(self._granted)))

    def discard(self, segment: Segment) -> None:
        """Give up a segment that was lent, and whose lease the worker does not know."""
        del self._lent[segment]
        self._remove(segment)

    def shrink(self, before: float) -> None:
        """Give up segments that are free since before this time, in monotonic seconds."""
        self.collect()
        for segment, since in list(self._free.items()):
            if since <= before:
                self._remove(segment)

    def recall(self, before: float) -> None:
        """Ask the worker for the segments back that it has not used since before this time."""
        for segment, (_, since) in list(self._granted.items()):
            if since <= before:
                self._recall(segment)

    def in_use(self) -> int:
        """Return the bytes of the segments that have a value in them, or may get one."""
        self.collect()
        return sum(segment.size for segment in self._own() if segment not in self._free)

    def prepare_fork(self) -> None:
        """Never use again what a fork of the program can see. Any thread may call it."""
        self._spoilt.update(segment for segment in list(self._held) if segment.mapping.is_seen)

    def forget(self) -> None:
        """Let go of all segments, in a fork of the program, which has no worker."""
        for segment in self._own():
            segment.close_file()
        for segments in (self._slots, self._copies, self._free, self._lent, self._granted, self._recalled):
            segments.clear()
        self._held.clear()
        self._spoilt.clear()

    def close(self) -> None:
        """Give up all segments, after the process of the worker has ended. Idempotent."""
        self.collect()
        for copy, lease in self._copies.items():
            if lease:
                copy.spoil()  # a fork of the worker may see it
                copy.give_back()
        for segment in self._own():
            self._memory.discard(segment)
        self.forget()
        self._memory.remove(self)
        for end in (self._outlet, self._inlet):
            if end is not None:
                end.close()

    def collect(self) -> None:
        """Note which segments are free again."""
        for copy, lease in list(self._copies.items()):
            if lease and (returned := self._page.returned(self._slots[copy])) & ~RETIRED == lease:
                self._copies[copy] = 0
                copy.give_back()
                if returned != lease:
                    copy.spoil()
                    self.unmap(copy)
        for segment, lease in list(self._lent.items()):
            returned = self._page.returned(self._slots[segment])
            if returned & ~RETIRED == lease:
                del self._lent[segment]
                self._release(segment, is_spoilt=returned != lease)
        for segment, lease in list(self._recalled.items()):
            if self._page.returned(self._slots[segment]) == lease:
                del self._recalled[segment]
                self._release(segment, is_spoilt=True)
        for segment in [segment for segment in self._held if not segment.mapping.is_seen]:
            self._held.remove(segment)
            self._release(segment, is_spoilt=segment in self._spoilt)
            self._spoilt.discard(segment)

    def _release(self, segment: Segment, *, is_spoilt: bool) -> None:
        if is_spoilt:
            self._remove(segment)
        else:
            self._free[segment] = monotonic()

    def _find(self, nbytes: int, *, is_for_results: bool) -> Segment | None:
        """Take a free segment, the one that was used last; else make one."""
        for segment in reversed(self._free):
            if segment.is_for_results == is_for_results and suits(segment.size, nbytes):
                del self._free[segment]
                return segment
        if len(self._slots) >= SLOTS:
            return None
        made = self._memory.make(size_for(nbytes), is_for_results=is_for_results)
        if made is None or self._send_descriptor(made):
            return made
        self._memory.discard(made)
        return None

    def _make_room(self, nbytes: int) -> None:
        """Have the worker unmap the copies that were not lent to it for the longest time, if there are many."""
        for copy, lease in list(self._copies.items()):
            if len(self._copies) < _FEW or nbytes + sum(each.size for each in self._copies) <= _MAPPED:
                return
            if not lease:
                self.unmap(copy)

    def _send_descriptor(self, segment: Segment) -> bool:
        slot = next((slot for slot in range(SLOTS) if slot not in self._slots.values()), None)
        if self._outlet is None or slot is None:
            return False
        try:
            socket.send_fds(self._outlet, [b"\0"], [segment.fileno()])
        except OSError:  # the worker does not read, or is gone
            return False
        self._slots[segment] = slot
        self._announce.added(slot, segment.size, self._leases, is_for_results=segment.is_for_results)
        if segment.is_for_results:
            segment.close_file()
        return True

    def _recall(self, segment: Segment) -> None:
        self._recalled[segment] = self._granted.pop(segment)[0]
        self._announce.removed(self._slots[segment])

    def _remove(self, segment: Segment) -> None:
        self._free.pop(segment, None)
        self._memory.discard(segment)
        self.unmap(segment)

    def unmap(self, segment: Segment) -> None:
        """Have the worker unmap a segment that is given up, if it has that."""
        if isinstance(segment, SharedCopy):
            self._copies.pop(segment, None)
        slot = self._slots.pop(segment, None)
        if slot is not None:
            self._announce.removed(slot)

    def _own(self) -> list[Segment]:
        """Return the segments of this worker alone."""
        return [segment for segment in self._slots if segment.is_for_one]
