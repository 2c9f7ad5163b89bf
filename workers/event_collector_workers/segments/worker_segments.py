"""The segments of this worker, in the worker process: payloads to read, and room for results.

A payload is in use until nothing looks into its segment any more, which is checked after each job and before each wait.
So whatever a handler keeps is safe, wherever it is.
"""

from __future__ import annotations

import gc
import mmap
import os
import socket
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from event_collector_workers.segments.mapping import Mapping
from event_collector_workers.segments.nameless_file import allocate
from event_collector_workers.segments.segment_sizes import RETIRED, suits

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANY: Final = 8
"""Payloads in use at which garbage is collected; the next time when they are twice as many as are left."""

_SHARE: Final = 8
"""Of the descriptors and the address space that this process may have, one of so many is for segments."""


class LeasePage(Protocol):
    """The shared page, as it is used here."""

    def granted(self, slot: int) -> int:
        """Return the last lease of a segment for results."""

    def end_lease(self, slot: int, lease: int) -> None:
        """Note that a lease has ended."""

    def refuse_segments(self) -> None:
        """Have the program send everything through the socket."""


class _Room:
    """A segment for results. `used`: the last lease that is over."""

    def __init__(self, fd: int, size: int, used: int) -> None:
        self.mapping, self.size, self.used = Mapping(fd, size), size, used
        self._fd = os.dup(fd)  # until the memory is allocated

    def fill(self, parts: Sequence[memoryview], lease: int) -> None:
        """Put a value into it. Raises OSError if memory runs out."""
        if self._fd >= 0:
            allocate(self._fd, self.mapping.memory, 0, self.size)
            self.close_file()
        self.used = lease
        at = 0
        with memoryview(self.mapping.memory) as view:
            for part in parts:
                view[at : at + part.nbytes] = part
                at += part.nbytes

    def close_file(self) -> None:
        """Close the file; the mapping stays. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class WorkerSegments:
    """Holds the segments that the program shares with this worker. The main thread uses it, and forks of any thread.

    `inlet`: the descriptor of the socket through which those of segments arrive.
    """

    def __init__(self, page: LeasePage, inlet: int) -> None:
        os.set_inheritable(inlet, False)
        self._page, self._inlet = page, socket.socket(fileno=inlet)
        self._payloads: dict[int, Mapping] = {}  # by slot
        self._leases: dict[int, int] = {}  # of the payloads that are in use
        self._rooms: dict[int, _Room] = {}  # by slot
        self._mapped = 0
        self._many = _MANY
        # Twice: other threads run between the first time and the fork.
        os.register_at_fork(before=self._retire, after_in_parent=self._retire, after_in_child=self._forget)

    def __repr__(self) -> str:
        return f"<WorkerSegments payloads={len(self._payloads)} in use={len(self._leases)} rooms={len(self._rooms)}>"

    def add(self, slot: int, size: int, lease: int, *, is_for_results: bool) -> None:
        """Map a segment whose descriptor was sent. If that is not possible, refuse this and all others."""
        _, fds, _, _ = socket.recv_fds(self._inlet, 1, 1)
        try:
            files, space = _allowed()
            if not fds or len(self._payloads) + len(self._rooms) >= files or self._mapped + size > space:
                raise OSError("more segments than this worker may have")
            if is_for_results:
                self._rooms[slot] = _Room(fds[0], size, lease)
            else:
                self._payloads[slot] = Mapping(fds[0], size, mmap.ACCESS_READ)
            self._mapped += size
        except OSError:
            self._page.refuse_segments()
        finally:
            for fd in fds:
                os.close(fd)

    def remove(self, slot: int) -> None:
        """Unmap a segment, and give a grant back that was not used."""
        payload, room = self._payloads.pop(slot, None), self._rooms.pop(slot, None)
        if payload is not None:
            self._mapped -= len(payload.memory)
        if room is not None:
            self._mapped -= room.size
            room.close_file()
            if self._page.granted(slot) > room.used:
                self._page.end_lease(slot, self._page.granted(slot))

    def open(self, slot: int, lease: int, nbytes: int) -> memoryview | None:
        """Return a payload; None if its segment could not be mapped."""
        payload = self._payloads.get(slot)
        if payload is None:
            return None
        view = payload.view(nbytes)  # first: a fork of another thread ends leases that nothing sees
        self._leases[slot] = lease
        return view

    def end_unseen(self) -> None:
        """End the leases of payloads that nothing looks into any more.

        Garbage in cycles would hold ever more memory, which the collector does not see.
        """
        self._end_unseen()
        if len(self._leases) >= self._many:
            gc.collect()
            self._end_unseen()
            self._many = max(_MANY, 2 * len(self._leases))

    def _end_unseen(self) -> None:
        for slot, lease in list(self._leases.items()):
            payload = self._payloads.get(slot)
            if payload is None or not payload.is_seen:
                self._leases.pop(slot, None)
                self._page.end_lease(slot, lease)

    def put(self, parts: Sequence[memoryview], nbytes: int) -> tuple[int, int] | None:
        """Put a result into a segment; return its slot and lease. None: there is none for it."""
        free = [
            (room.size, slot, lease)
            for slot, room in self._rooms.items()
            if suits(room.size, nbytes) and (lease := self._page.granted(slot)) > room.used
        ]
        if not free:
            return None
        _, slot, lease = min(free)
        try:
            self._rooms[slot].fill(parts, lease)
        except OSError:
            self._page.refuse_segments()
            return None
        return slot, lease

    def _retire(self) -> None:
        """Before a fork: never have memory used again that the copy of this process can see."""
        for slot, lease in list(self._leases.items()):
            payload = self._payloads.get(slot)
            if payload is not None and payload.is_seen:
                self._leases.pop(slot, None)
                self._payloads.pop(slot, None)
                self._mapped -= len(payload.memory)
                self._page.end_lease(slot, lease | RETIRED)

    def _forget(self) -> None:
        """In a copy of this process: keep no memory but what can be seen."""
        self._payloads.clear()
        self._leases.clear()
        self._rooms.clear()
        with suppress(OSError):
            self._inlet.close()


def _allowed() -> tuple[float, float]:
    """Return how many segments this process may have, and of how many bytes together."""
    import resource

    limits = (resource.getrlimit(each)[0] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS))
    files, space = (inf if each == resource.RLIM_INFINITY else each / _SHARE for each in limits)
    return files, space
