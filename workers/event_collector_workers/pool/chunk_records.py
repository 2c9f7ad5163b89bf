"""Chunks in the hands of a worker: what its records, its sheet and its death say of their items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import DecodeError

from event_collector_workers.job import ChunkJob
from event_collector_workers.pool.listener import tell
from event_collector_workers.pool_errors import WorkerCrashed
from event_collector_workers.transport.frames import Outcome, decode_item, decode_kept, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from event_collector_workers.job import Buffer, Job
    from event_collector_workers.transport.frames import Record
    from event_collector_workers.transport.sheet import Kept, ParentSheet


class Holder(Protocol):
    """A worker, as its records see it."""

    def keep_in_hand(self, first: int, job: ChunkJob) -> None:
        """Put a chunk back that has not ended."""

    def count_items(self, count: int) -> None:
        """Count the items in a record."""

    def kill(self, complaint: str) -> None:
        """End the process now."""


def chunk_with(in_hand: Mapping[int, Job | None], number: int) -> tuple[int, ChunkJob] | None:
    """Return the chunk that the item with this sequence number belongs to, with the number of its first item."""
    for first, job in in_hand.items():
        if isinstance(job, ChunkJob) and first <= number < first + job.count:
            return first, job
    return None


def holds(in_hand: Mapping[int, Job], number: int) -> bool:
    """Return whether a sequence number is that of a job, or of an item of a chunk."""
    return any(first <= number < first + job.count for first, job in in_hand.items())


def has_several(in_hand: Mapping[int, Job | None]) -> bool:
    """Return whether a chunk has more than one item without an outcome."""
    return any(isinstance(job, ChunkJob) and job.count - job.taken > 1 for job in in_hand.values())


def items_in(in_hand: Mapping[int, Job | None]) -> int:
    """Return the number of jobs, and of items of chunks, that have no outcome."""
    return sum(
        job.count - job.taken if isinstance(job, ChunkJob) else job.count for job in in_hand.values() if job is not None
    )


def take_kept(first: int, job: ChunkJob, kept: Kept) -> float:
    """Hand outcomes to a chunk whose first item has that number. Return their seconds in total."""
    seconds = kept.seconds()
    tell(job.take, kept.first - first, kept.outcomes, seconds)
    return sum(seconds)


def head_of(first: int, job: ChunkJob) -> bytes:
    """Return the head of the message with the items of a chunk, whose first item gets that number."""
    return encode((first, job.task, job.count))


def put_first(in_hand: dict[int, Job | None], first: int, job: ChunkJob) -> None:
    """Put a chunk back that was removed by one of its records: before the others, since it is the oldest."""
    others = dict(in_hand)
    in_hand.clear()
    in_hand[first] = job
    in_hand.update(others)


def take_unstarted(in_hand: dict[int, Job | None], number: int) -> list[Job]:
    """Return the jobs from this number on, with None in their place. Items of a chunk from it on are given back."""
    taken = []
    for first, job in list(in_hand.items()):
        if job is not None and first >= number:
            in_hand[first] = None
            taken.append(job)
        elif isinstance(job, ChunkJob):
            tell(job.leave_only, number - first)
    return taken


def take_from_sheet(in_hand: Mapping[int, Job | None], sheet: ParentSheet) -> None:
    """Hand the outcomes on the sheet of a worker to their chunk."""
    kept = sheet.look()
    found = None if kept is None else chunk_with(in_hand, kept.first)
    if kept is not None and found is not None:
        take_kept(*found, kept)


def take_record(worker: Holder, job: ChunkJob, record: Record, blob: Buffer | None) -> tuple[float, bool]:
    """Hand the outcomes in a record to a chunk. Return their seconds in total, and whether the chunk is over."""
    first, outcome, seconds, body = record
    is_over = outcome == Outcome.ENDED
    if not is_over:
        worker.keep_in_hand(first, job)
    try:
        if outcome == Outcome.ITEM:
            number, reply = decode_item(body)
            if number == first + job.taken:
                tell(job.take_one, reply, blob, seconds)
        else:
            kept = decode_kept(body)
            worker.count_items(kept.length)
            seconds = take_kept(first, job, kept)
    except DecodeError as error:
        worker.kill(f"its results are not readable: {error}")
    if is_over:
        tell(job.leave_only, job.taken)  # it has skipped the others
    return seconds, is_over


def times_in(record: Record) -> list[float]:
    """Return the seconds of each item in the record of a chunk; none if it is not readable."""
    _, outcome, seconds, body = record
    if outcome not in (Outcome.ITEMS, Outcome.ENDED):
        return [seconds]
    try:
        return decode_kept(body).seconds()
    except DecodeError:  # take_record() deals with it
        return []


def settle_dead(first: int, job: ChunkJob, last: int, seconds: float, error_of: Callable[[int], BaseException]) -> int:
    """End a chunk whose worker has died after it began the item `last`. Return how many of its items crashed.

    The item that was running fails. Those behind it are given back. Several fail only if their outcomes were lost
    together with the socket.
    """
    crashed = 0
    while job.taken < min(job.count, last + 1 - first):
        error = error_of(first + job.taken)
        crashed += isinstance(error, WorkerCrashed)
        tell(job.fail_one, error, seconds)
    tell(job.leave_only, job.taken)
    return crashed
