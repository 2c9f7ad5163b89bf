"""The memory that the pool shares with one worker: its current job, and a ring of results.

Each worker has its own page, so workers share nothing that one of them could die holding. Every word has one
writer. The page outlives the worker: the results in the ring and the number of the running job are readable however
the worker ended.

    word      written by   meaning
    STARTED   worker       sequence number of the job that was started last
    SINCE     worker       start of that job in monotonic nanoseconds; written before STARTED, so no age is overstated
    WRITTEN   worker       records written to the ring in total (upper half), and their bytes (lower), modulo 2**32
    CPU       worker       nanoseconds of processor time, as of the last time the worker was idle
    OPENING   worker       1 after the worker has begun to open its tasks
    OUTPUT    worker       a new number after each record that the worker has sent through its outlet
    REFUSES   worker       1 after the worker could not map a segment
    RESUMED   worker       sequence number of a job that goes on after it was suspended, or 0 (upper half), and STARTED
                           at that time (lower half), modulo 2**32: until STARTED changes, the worker is in that job
    KEPT...   worker       see `sheet`
    READ      parent       bytes that the parent has read from the ring in total
    VISITS    parent       twice the number of visits to the ring; plus one while another visit is certain
    REVOKED   parent       first (upper half) and end (lower half) of the jobs taken back, modulo 2**32
    DISMISSED parent       1 after the parent has forbidden the worker to open its tasks
    CLOSED    parent       sequence number of the last job that is to end although it has parts to give; a hint
    GRANTED.. parent       of each segment for results: its last lease
    ENDED...  worker       of each segment: the lease that has ended last (see `segments`)

Between the words and the ring is the progress of the current job, written by the worker (see `progress_record`).

Three pairs of words decide a race. In each pair one side writes the first word and then reads the second; the other
side writes the second and then reads the first; both put a fence in between. So at least one side sees the other.

- STARTED and REVOKED decide which side owns a job.
- OPENING and DISMISSED decide whether a worker that is not ready may be killed.
- WRITTEN and VISITS decide whether a result must be announced. The worker writes WRITTEN, reads VISITS, and sends
  nothing if another visit is certain. The parent withdraws its promise, visits, and only then may promise again. The
  worker uses the fence of the next job's STARTED if it has a next job: a fence costs as much as encoding a small
  result.
"""

import contextlib
import mmap
import os
import threading
from time import monotonic_ns
from typing import Final

from event_collector_workers.segments.nameless_file import create_nameless_file
from event_collector_workers.segments.segment_sizes import SLOTS
from event_collector_workers.transport.progress_record import (
    PROGRESS_AT,
    PROGRESS_SIZE,
    Progress,
    encode_progress,
    read_progress,
)
from event_collector_workers.transport.sheet import SHEET_SIZE, ParentSheet, WorkerSheet
from event_collector_workers.transport.stack_file import STACK_AT, STACK_SIZE

RING_SIZE: Final = 128 * 1024
"""Bytes of the ring. 256 small results take 16 KiB; a larger ring would evict the reader's memory from its cache."""

_WORDS: Final = 4096  # bytes before the ring
_SIZE: Final = _WORDS + RING_SIZE + SHEET_SIZE
_MASK: Final = 0xFFFFFFFF

# The words of the two writers are on separate cache lines (8 words of 8 bytes each, two lines apart).
_STARTED: Final = 0
_SINCE: Final = 1
_WRITTEN: Final = 2
_CPU: Final = 3
_OPENING: Final = 4
_OUTPUT: Final = 12
_REFUSES: Final = 13
_RESUMED: Final = 5
_READ: Final = 16
_VISITS: Final = 17
_REVOKED: Final = 18
_DISMISSED: Final = 19
_CLOSED: Final = 20
_GRANTED: Final = 128
_ENDED: Final = _GRANTED + SLOTS


def create_page_file() -> int:
    """Return the descriptor of a new page without a name. Raises OSError if descriptors or memory have run out.

    The stacks that a worker leaves follow the words and the ring (see `stack_file`).
    """
    fd = create_nameless_file(getattr(os, "MFD_ALLOW_SEALING", 0))
    try:
        os.ftruncate(fd, STACK_AT + STACK_SIZE)
    except OSError:
        os.close(fd)
        raise
    with contextlib.suppress(ImportError, AttributeError, OSError):  # another platform, a file of a folder
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


class _Page:
    """The mapping and the memory fence of either side."""

    sheet: WorkerSheet | ParentSheet

    def __init__(self, fd: int) -> None:
        self._use(mmap.mmap(fd, _SIZE))
        # Releasing and then acquiring a lock keeps every earlier access before every later one, on x86 and ARM.
        # Python has no other portable fence. Without it, a result could become visible before its bytes.
        lock = threading.Lock()
        lock.acquire()
        self._release, self._acquire = lock.release, lock.acquire

    def __repr__(self) -> str:
        try:
            words = self._words
            started, visits, written = words[_STARTED], words[_VISITS], words[_WRITTEN]
            unread = ((written & _MASK) - words[_READ]) & _MASK
        except ValueError:
            return f"<{type(self).__name__} closed>"
        promise = " promised" if visits & 1 else ""
        return f"<{type(self).__name__} started={started} unread={unread} visits={visits // 2}{promise}>"

    def _use(self, memory: mmap.mmap) -> None:
        self._map = memory
        whole = memoryview(memory)
        self._words = whole[:_WORDS].cast("Q")
        self._ring = whole[_WORDS : _WORDS + RING_SIZE]
        self._sheet_memory = whole[_WORDS + RING_SIZE :]
        self._progress = whole[PROGRESS_AT : PROGRESS_AT + PROGRESS_SIZE]
        whole.release()

    def _fence(self) -> None:
        self._release()
        self._acquire()

    def close(self) -> None:
        """Unmap the page. Idempotent."""
        self.sheet.close()
        self._words.release()
        self._ring.release()
        self._sheet_memory.release()
        self._progress.release()
        self._map.close()


class WorkerPage(_Page):
    """The worker's side: announces its current job, writes records, reads which jobs were taken back."""

    sheet: WorkerSheet

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.sheet = WorkerSheet(self._words, self._sheet_memory)
        self._count = 0
        self._end = 0
        self._at = 0  # position of _end in the ring
        self._free_to = RING_SIZE  # position up to which the ring is known to be free

    def begin_opening(self) -> bool:
        """Announce that the tasks are about to be opened. Return False if the parent has dismissed this worker."""
        self._words[_OPENING] = 1
        self._fence()
        return not self._words[_DISMISSED]

    def begin(self, sequence: int, now_ns: int) -> bool:
        """Claim a job. Return False if the parent has taken it back: then it must not run."""
        words = self._words
        words[_SINCE] = now_ns
        words[_STARTED] = sequence
        self._release()  # _fence(), inlined: twice as fast
        self._acquire()
        revoked = words[_REVOKED]
        if not revoked:
            return True
        first = revoked >> 32
        return (sequence - first) & _MASK >= (revoked - first) & _MASK

    @property
    def started(self) -> int:
        """The number of the job that was started last."""
        return self._words[_STARTED]

    def resume(self, sequence: int, since_ns: int) -> None:
        """Announce that a job goes on, which counts as in the task since then; 0: that it is suspended or has ended."""
        self._words[_SINCE] = since_ns
        self._words[_RESUMED] = (sequence & _MASK) << 32 | self._words[_STARTED] & _MASK

    def is_closed(self, sequence: int) -> bool:
        """Return whether a job is to give no more parts. The message that says so follows, and may be all that does."""
        return self._words[_CLOSED] == sequence

    def write(self, record: bytes) -> bool:
        """Write a record to the ring, where it survives this process. Return False if there is no room."""
        size, at = len(record), self._at
        stop = at + size
        if stop < self._free_to:
            self._ring[at:stop] = record
            self._at = stop
        elif not self._write_around(record):
            return False
        self._end = end = (self._end + size) & _MASK
        self._count = count = (self._count + 1) & _MASK
        self._release()  # _fence(), inlined
        self._acquire()
        self._words[_WRITTEN] = count << 32 | end
        return True

    def _write_around(self, record: bytes) -> bool:
        """Determine how much of the ring is free, and write the record, around the end of the ring if necessary."""
        size, at = len(record), self._at
        free = RING_SIZE - ((self._end - self._words[_READ]) & _MASK)
        if size > free:
            return False
        first = min(size, RING_SIZE - at)
        self._ring[at : at + first] = record[:first]
        self._ring[: size - first] = record[first:]
        self._at = (at + size) % RING_SIZE
        free_to = at + free  # in this round of the ring, or in the next one if the next record begins there
        self._free_to = min(RING_SIZE, free_to if self._at > at else free_to - RING_SIZE)
        return True

    def report(self, done: float, total: float | None, note: str) -> None:
        """Publish the progress of the current job. Any thread may call it."""
        started, resumed = self._words[_STARTED], self._words[_RESUMED]
        is_resumed = resumed and resumed & _MASK == started & _MASK  # as ParentPage.current() sees it
        record = encode_progress(resumed >> 32 if is_resumed else started, monotonic_ns(), done, total, note)
        self._progress[: len(record)] = record

    def visits(self) -> int:
        """Return the word VISITS, which is odd while another visit is certain.

        A fence must separate `write` from this call: the one in `begin`, or `settle`.
        """
        return self._words[_VISITS]

    settle = _Page._fence
    """Order all earlier writes before the next read."""

    def detach(self) -> None:
        """Switch to private memory, in which every job is taken back: a fork of the worker must not act for it."""
        self._use(mmap.mmap(-1, _SIZE))
        self.sheet.use(self._words, self._sheet_memory)
        self._words[_REVOKED] = _MASK  # from job 0 to the highest possible number

    def note_output(self, number: int) -> None:
        """Announce a record in the outlet: the parent reads it before the results that follow."""
        self._words[_OUTPUT] = number

    def granted(self, slot: int) -> int:
        """Return the last lease of a segment for results."""
        return self._words[_GRANTED + slot]

    def end_lease(self, slot: int, lease: int) -> None:
        """Note that the lease of a segment has ended, after all that was done in it. Any thread may call it."""
        fence = threading.Lock()
        with fence:
            pass
        with fence:  # released and acquired, as in _fence()
            self._words[_ENDED + slot] = lease

    def refuse_segments(self) -> None:
        """Have the program send everything through the socket."""
        self._words[_REFUSES] = 1

    def report_cpu(self, nanoseconds: int) -> None:
        """Publish the processor time that this process has used."""
        self._words[_CPU] = nanoseconds


class ParentPage(_Page):
    """The parent's side: reads records and the running job, takes jobs back."""

    sheet: ParentSheet

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.sheet = ParentSheet(self._words, self._sheet_memory)
        self._written = 0
        self._visits = 0
        self._output = 0

    def has_output(self) -> bool:
        """Return whether the worker has sent records since the last call. A fence precedes it: the one in `take`."""
        before, self._output = self._output, self._words[_OUTPUT]
        return self._output != before

    def arrive(self) -> bool:
        """Begin a visit and withdraw the promise of another one. Return whether there are records to take."""
        self._visits += 2
        self._words[_VISITS] = self._visits
        self._fence()
        return self._words[_WRITTEN] != self._written

    def promise(self) -> None:
        """Promise the worker another visit, so that it need not announce results."""
        self._words[_VISITS] = self._visits + 1

    def take(self) -> tuple[int, bytes]:
        """Remove the new records. Return their number and their bytes."""
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
        """Return the number of the job that was started last (0: none) and may have ended, and its monotonic start."""
        words = self._words
        while True:
            sequence = words[_STARTED]
            since = words[_SINCE]
            if words[_STARTED] == sequence:
                return sequence, since / 1e9

    def progress(self, sequence: int) -> Progress | None:
        """Return what the job with this number has reported; None if it has not."""
        return read_progress(self._progress, sequence)

    def current(self) -> tuple[int, float]:
        """Return the number of the job that the worker is in (0: none), which may have ended, and its monotonic start.

        Unlike `running`, it knows of jobs that were suspended. The start of one that goes on leaves out the time in
        which it was suspended.
        """
        words = self._words
        while True:
            resumed = words[_RESUMED]
            sequence, since = self.running()
            if words[_RESUMED] == resumed:
                if resumed and resumed & _MASK == sequence & _MASK:
                    sequence = resumed >> 32 and sequence - ((sequence - (resumed >> 32)) & _MASK)
                return sequence, since

    @property
    def refuses_segments(self) -> bool:
        """Whether the worker could not map a segment."""
        return bool(self._words[_REFUSES])

    def returned(self, slot: int) -> int:
        """Return the lease of a segment that has ended last."""
        lease = self._words[_ENDED + slot]
        self._fence()
        return lease

    def grant(self, slot: int, lease: int) -> None:
        """Let the worker put a result into a segment."""
        self._fence()
        self._words[_GRANTED + slot] = lease

    def close_job(self, sequence: int) -> None:
        """Have a job give no more parts; the message that ends it waits behind other jobs."""
        self._words[_CLOSED] = sequence

    def revoke(self, first: int, end: int) -> int:
        """Take back the jobs first <= number < end. Return the number of the job that was started last.

        Jobs above the returned number never start. If the number is at least `first`, the worker may have been
        faster, and its records say what became of each job.
        """
        self._words[_REVOKED] = (first & _MASK) << 32 | (end & _MASK)
        self._fence()
        return self._words[_STARTED]

    def dismiss(self) -> bool:
        """Forbid the worker to open tasks. Return False if it was faster and has tasks to close."""
        self._words[_DISMISSED] = 1
        self._fence()
        return not self._words[_OPENING]

    @property
    def cpu_seconds(self) -> float:
        """Seconds of processor time that the worker had used when it was last idle."""
        return self._words[_CPU] / 1e9
