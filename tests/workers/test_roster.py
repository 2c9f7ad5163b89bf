"""The workers that accept jobs, without processes: which are idle, how much each accepts, when they are visited."""

from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

from event_collector_workers.job import ChunkJob
from event_collector_workers.pool.credit import HELD_UP, UNSTARTED, Credit
from event_collector_workers.pool.roster import Roster
from event_collector_workers.pool.worker_state import State

if TYPE_CHECKING:
    from event_collector_workers.pool.worker import Worker

CREDIT = Credit(depth=4, low=2)
SERVICE_TIME = 0.001


class FakeWorker:
    """A worker that holds `held` jobs and has been in one of them for `age` seconds; in none if `begun` is False.

    With `in_chunk` that one is a chunk with several items.
    """

    def __init__(
        self, held: int, age: float = 0.0, *, begun: bool = True, allowance: int = 100, in_chunk: bool = False
    ) -> None:
        self.load, self.held = held, held + in_chunk
        self.in_hand: dict[int, Any] = dict.fromkeys(range(1, held + 1))
        if in_chunk:
            self.in_hand[1] = ChunkJob(0, b"", 2)
        self.allowance = allowance
        self.state = State.READY
        self.is_congested, self.has_chunks = False, in_chunk
        self.page: Any = Mock()
        self._running = (int(begun), age) if held else (0, 0.0)

    def peek(self) -> None:
        """Do nothing: it runs no chunks."""

    def running(self, _now: float) -> tuple[int, float]:
        return self._running


def roster_of(*workers: FakeWorker) -> Roster:
    roster = Roster()
    for worker in workers:
        roster.attach(cast("Worker", worker))
    roster.survey(SERVICE_TIME)
    roster.note_idle()
    return roster


def test_jobs_go_to_the_least_loaded_workers_that_accept_any() -> None:
    """A worker above `low`, or without allowance, gets none; the room is what all of them accept."""
    idle, light, full = FakeWorker(0), FakeWorker(2), FakeWorker(3)
    roster = roster_of(idle, light, full)
    assert roster.room(CREDIT) == 4 + 2
    assert roster.share_out(3, CREDIT) == [(idle, 3)]
    assert dict(roster.share_out(100, CREDIT)) == {idle: 4, light: 2}
    roster.add_load(cast("Worker", idle), 4)
    assert roster.room(CREDIT) == 2
    assert roster_of(FakeWorker(0, allowance=1)).share_out(100, CREDIT)[0][1] == 1


def test_a_worker_that_is_in_a_chunk_gets_others_before_its_end() -> None:
    """It would run dry until the program looks, and take what has just been given to another."""
    in_chunk = roster_of(FakeWorker(1, in_chunk=True))
    assert in_chunk.room(in_chunk.credit(0.02, 0.032)) == 2
    in_job = roster_of(FakeWorker(1))
    assert in_job.room(in_job.credit(0.02, 0.032)) == 1


def test_a_congested_worker_accepts_nothing() -> None:
    """It has yet to read its input, however few jobs it holds."""
    worker = FakeWorker(1)
    worker.is_congested = True
    assert roster_of(worker).room(CREDIT) == 0


def test_an_idle_worker_is_used_once_until_idleness_is_noted_again() -> None:
    """An excluded worker accepts nothing but stays attached until its process has ended."""
    worker = FakeWorker(0)
    roster = roster_of(worker)
    assert roster.pop_idle() is worker
    assert not roster.has_idle
    roster.note_idle()
    assert roster.has_idle
    roster.exclude(cast("Worker", worker))
    roster.note_idle()
    assert (roster.has_idle, roster.room(CREDIT), roster.attached) == (False, 0, [worker])
    for _ in range(2):
        roster.detach(cast("Worker", worker))
    assert roster.attached == []


def test_jobs_behind_a_long_one_are_held_up_only_if_another_worker_has_room() -> None:
    """A worker in a long job, and one that starts none, hold up the jobs behind."""
    long, stuck = FakeWorker(3, 2 * HELD_UP), FakeWorker(3, 2 * UNSTARTED, begun=False)
    assert roster_of(long, stuck, FakeWorker(0)).held_up(CREDIT, SERVICE_TIME) == [long, stuck]
    assert roster_of(long, stuck, FakeWorker(4)).held_up(CREDIT, SERVICE_TIME) == []


def test_workers_with_more_work_are_promised_a_visit() -> None:
    """Without a promise, a worker that may be unable to announce results is visited now and then."""
    busy, last = FakeWorker(2), FakeWorker(1)
    roster = roster_of(busy, last)
    assert roster.plan_visit(SERVICE_TIME) is not None
    busy.page.promise.assert_called_once_with()
    last.page.promise.assert_not_called()
    assert roster.has_promised
    roster.begin_visit()
    assert not roster.has_promised
    assert roster_of(last).plan_visit(SERVICE_TIME) is None
    last.state = State.LOST
    assert roster_of(last).plan_visit(SERVICE_TIME) is not None
