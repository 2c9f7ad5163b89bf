"""The memory that the pool shares with one worker: what it is doing, and a ring of results.

Each worker has a page of its own, so no two workers share anything that one of them could die holding. Every
word has one writer. The page outlives the worker: a result that is in the ring, and the number of the job
that was running, are there however the worker ended.

    word      written by   meaning
    STARTED   worker       sequence number of the job that was started last
    SINCE     worker       monotonic nanoseconds when it was; written before STARTED: no age is overstated
    WRITTEN   worker       records in the ring, ever (upper half), and their bytes (lower), modulo 2**32
    CPU       worker       nanoseconds of processor time, as of the last time the worker had nothing to do
    OPENING   worker       1 once it has begun to open its tasks
    READ      parent       bytes of the ring that the parent has taken, ever
    VISITS    parent       looks at the ring, ever, times two; plus one while another look is certain to come
    REVOKED   parent       first (upper half) and end (lower half) of the jobs taken back, modulo 2**32
    DISMISSED parent       1 once the worker is not to open its tasks any more

STARTED and REVOKED decide together who owns a job: the worker writes STARTED and then reads REVOKED, the
parent writes REVOKED and then reads STARTED, each with a fence between. So at least one of them sees the other.
OPENING and DISMISSED decide in the same way whether a worker that has not started yet may be killed.
WRITTEN and VISITS decide in the same way whether a result must be announced: the worker writes WRITTEN and then
reads VISITS, and is silent if another look is certain; the parent withdraws that certainty, looks, and only then
may promise again. The fence between the two is that of the next job's STARTED, if there is a next job at hand: a
fence costs as much as encoding a small result.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from typing import Final

__all__ = ["RING_SIZE", "ParentPage", "WorkerPage", "create_page_file"]

RING_SIZE: Final = 128 * 1024
"""Bytes of the ring: 256 small results take 16 KiB; more would only push the reader's memory out of its
cache."""

_WORDS: Final = 4096  # bytes before the ring
_MASK: Final = 0xFFFFFFFF

# The two writers' words stand on cache lines of their own (8 words of 8 bytes each, two lines apart).
_STARTED: Final = 0
_SINCE: Final = 1
_WRITTEN: Final = 2
_CPU: Final = 3
_OPENING: Final = 4
_READ: Final = 16
_VISITS: Final = 17
_REVOKED: Final = 18
_DISMISSED: Final = 19


def create_page_file() -> int:
    """Return the descriptor of a new page, which has no name in any file system.

    Raises:
        OSError: The process has no descriptor or the machine no memory left.

    """
    if sys.platform == "linux":
        fd = os.memfd_create("event_collector_workers", os.MFD_CLOEXEC)
    else:
        import tempfile  # which takes a worker longer to import than all of this module

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, _WORDS + RING_SIZE)
    except OSError:
        os.close(fd)
        raise
    return fd


class _Page:
    """The mapping, and the fence that both sides need."""

    def __init__(self, fd: int) -> None:
        self._use(mmap.mmap(fd, _WORDS + RING_SIZE))
        # A release and then an acquire of one lock keep every earlier access before every later one, on x86
        # and on ARM alike; Python has no other portable fence. Without it, a result could be announced before
        # its bytes.
        lock = threading.Lock()
        lock.acquire()
        self._release, self._acquire = lock.release, lock.acquire

    def _use(self, memory: mmap.mmap) -> None:
        self._map = memory
        whole = memoryview(memory)
        self._words = whole[:_WORDS].cast("Q")
        self._ring = whole[_WORDS:]
        whole.release()

    def _fence(self) -> None:
        self._release()
        self._acquire()

    def close(self) -> None:
        """Unmap the page. Idempotent."""
        self._words.release()
        self._ring.release()
        self._map.close()


class WorkerPage(_Page):
    """The worker's side: says what it does, reads what was taken back."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._count = 0
        self._end = 0
        self._at = 0  # the place of _end in the ring
        self._free_to = RING_SIZE  # as far as it is known that nothing there has yet to be read

    def begin_opening(self) -> bool:
        """Announce that the tasks are opened now; False when the parent has given this worker up."""
        self._words[_OPENING] = 1
        self._fence()
        return not self._words[_DISMISSED]

    def begin(self, sequence: int, now_ns: int) -> bool:
        """Claim a job; False when the parent has taken it back, and it must not run."""
        words = self._words
        words[_SINCE] = now_ns
        words[_STARTED] = sequence
        self._release()  # the fence, twice as fast without a call of _fence()
        self._acquire()
        revoked = words[_REVOKED]
        if not revoked:
            return True
        first = revoked >> 32
        return (sequence - first) & _MASK >= (revoked - first) & _MASK

    def write(self, record: bytes) -> bool:
        """Put a record into the ring, where it survives this process; False when there is no room."""
        size, at = len(record), self._at
        stop = at + size
        if stop < self._free_to:
            self._ring[at:stop] = record
            self._at = stop
        elif not self._write_around(record):
            return False
        self._end = end = (self._end + size) & _MASK
        self._count = count = (self._count + 1) & _MASK
        self._release()
        self._acquire()
        self._words[_WRITTEN] = count << 32 | end
        return True

    def _write_around(self, record: bytes) -> bool:
        """Look how much of the ring is free now, and write the record, perhaps around its end."""
        size, at = len(record), self._at
        free = RING_SIZE - ((self._end - self._words[_READ]) & _MASK)
        if size > free:
            return False
        first = min(size, RING_SIZE - at)
        self._ring[at : at + first] = record[:first]
        self._ring[: size - first] = record[first:]
        self._at = (at + size) % RING_SIZE
        free_to = at + free  # in this round of the ring, or in the next if that is where the next record goes
        self._free_to = min(RING_SIZE, free_to if self._at > at else free_to - RING_SIZE)
        return True

    def visits(self) -> int:
        """Return the parent's looks, odd while another is certain to come.

        Between `write` and this belongs a fence: that of `begin`, or `settle`.
        """
        return self._words[_VISITS]

    settle = _Page._fence
    """Have all that was written stand before what is read next."""

    def detach(self) -> None:
        """Write to private memory from now on, where every job counts as taken back.

        A process that the worker forks must neither speak for it nor run what the worker has yet to run.
        """
        self._use(mmap.mmap(-1, _WORDS + RING_SIZE))
        self._words[_REVOKED] = _MASK  # from job 0 to the last there can be

    def report_cpu(self, nanoseconds: int) -> None:
        """Publish the processor time that this process has used."""
        self._words[_CPU] = nanoseconds


class ParentPage(_Page):
    """The parent's side: takes records, sees the running job, takes jobs back."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._written = 0
        self._visits = 0

    def arrive(self) -> bool:
        """Begin a look, with no promise of another; return whether there is anything to take."""
        self._visits += 2
        self._words[_VISITS] = self._visits
        self._fence()
        return self._words[_WRITTEN] != self._written

    def promise(self) -> None:
        """Tell the worker that another look is certain to come, so results need no announcement."""
        self._words[_VISITS] = self._visits + 1

    def take(self) -> tuple[int, bytes]:
        """Return how many new records there are, and their bytes."""
        written = self._words[_WRITTEN]
        self._fence()
        count = ((written >> 32) - (self._written >> 32)) & _MASK
        start = self._written & _MASK
        size = (written - start) & _MASK
        at = start % RING_SIZE
        records = bytes(self._ring[at : at + size])
        if len(records) < size:
            records += bytes(self._ring[: size - len(records)])
        self._written = written
        self._fence()
        self._words[_READ] = written & _MASK
        return count, records

    def running(self) -> tuple[int, float]:
        """Return the number of the job that the worker started last, 0 when none, and when: monotonic seconds.

        It may have finished since.
        """
        words = self._words
        while True:
            sequence = words[_STARTED]
            since = words[_SINCE]
            if words[_STARTED] == sequence:
                return sequence, since / 1e9

    def revoke(self, first: int, end: int) -> int:
        """Take back the jobs first <= number < end; return the number of the job that was started last.

        What is returned decides: jobs above it will never start. If it is not below `first`, the worker may
        have been faster, and tells of each job what became of it.
        """
        self._words[_REVOKED] = (first & _MASK) << 32 | (end & _MASK)
        self._fence()
        return self._words[_STARTED]

    def dismiss(self) -> bool:
        """Have the worker open no task any more; False when it was faster, and has tasks to close."""
        self._words[_DISMISSED] = 1
        self._fence()
        return not self._words[_OPENING]

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the worker had used when it last had nothing to do."""
        return self._words[_CPU] / 1e9
