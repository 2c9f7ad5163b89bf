"""The workers that accept jobs: which are ready, which are idle, and how much work each holds."""

from time import monotonic
from typing import Final

from event_collector_workers.pool.chunk_records import has_several
from event_collector_workers.pool.credit import (
    DEEPEST,
    HELD_UP,
    LONGEST_CHUNK_VISIT,
    LONGEST_VISIT,
    Credit,
    credit_for,
    is_held_up,
    room_for,
    share_out,
    visit_pause,
    worker_load,
)
from event_collector_workers.pool.worker import Worker
from event_collector_workers.pool.worker_state import State

_RARE_VISIT: Final = 0.02  # seconds between two visits to workers that may be unable to announce results


class Roster:
    """The workers that traffic flows to. Only this class writes its fields, in the loop's thread."""

    def __init__(self) -> None:
        self.ready: list[Worker] = []  # accept jobs
        self.attached: list[Worker] = []  # ready workers, and former ones whose process still exists
        self.has_promised = False  # whether a worker was promised a visit
        self._idle: list[Worker] = []
        self._states: dict[Worker, tuple[int, float]] = {}  # Worker.running of the attached workers
        self._loads: dict[Worker, int] = {}  # of the ready workers
        self._has_chunks = False  # whether one of them is in a chunk

    def __repr__(self) -> str:
        return f"<Roster attached={len(self.attached)} ready={len(self.ready)} idle={len(self._idle)}>"

    @property
    def has_idle(self) -> bool:
        """True if a worker has no job."""
        return bool(self._idle)

    def attach(self, worker: Worker) -> None:
        """Add a worker that is ready."""
        self.attached.append(worker)
        self.ready.append(worker)

    def exclude(self, worker: Worker) -> None:
        """Record that a ready worker accepts no more jobs. No worker counts as idle until the next `note_idle`."""
        self.ready.remove(worker)
        self._idle = []

    def detach(self, worker: Worker) -> None:
        """Remove a worker whose process has ended. A no-op for a worker that was never ready."""
        if worker in self.attached:
            self.attached.remove(worker)

    def note_idle(self) -> None:
        """Note the workers that would start a job at once; not those that have yet to confirm jobs taken back."""
        self._idle = [worker for worker in self.ready if not worker.in_hand]

    def pop_idle(self) -> Worker:
        """Return an idle worker, which is about to get a job."""
        return self._idle.pop()

    def promise_visit(self, worker: Worker) -> None:
        """Promise a visit to a worker, so that it need not announce results."""
        worker.page.promise()
        self.has_promised = True

    def begin_visit(self) -> None:
        """Record that the promised visit takes place."""
        self.has_promised = False

    def survey(self, service_time: float) -> None:
        """Note the current job of each worker, its age, and the resulting load."""
        now = monotonic()
        self._states = states = {worker: worker.running(now) for worker in self.attached}
        self._has_chunks = any(worker.has_chunks and has_several(worker.in_hand) for worker in self.ready)
        self._loads = {
            worker: (DEEPEST if worker.is_congested else worker_load(worker.load, states[worker][1], service_time))
            if worker.in_hand
            else 0
            for worker in self.ready
        }

    def credit(self, service_time: float, horizon: float) -> Credit:
        """Return the credit of each worker, as of the last survey; a job more if there are chunks.

        The program looks for the results of chunks so rarely that a worker with one of them would run dry.
        """
        credit = credit_for(service_time, horizon)
        return Credit(credit.depth + 1, credit.low + 1) if self._has_chunks else credit

    def room(self, credit: Credit) -> int:
        """Return how many jobs the workers accept, as of the last survey."""
        loads, room = self._loads, 0
        for worker in self.ready:
            room += min(room_for(loads[worker], credit), worker.allowance)
        return room

    def room_of_idle(self, depth: int) -> int:
        """Return how many jobs the workers accept if none of them holds any."""
        return sum(min(depth, worker.allowance) for worker in self.ready)

    def share_out(self, jobs: int, credit: Credit) -> list[tuple[Worker, int]]:
        """Return the workers that get some of `jobs`, each with the number that it gets."""
        workers = list(self.ready)
        shares = share_out(jobs, [self._loads[worker] for worker in workers], credit)
        return [(worker, min(share, worker.allowance)) for worker, share in zip(workers, shares, strict=True) if share]

    def add_load(self, worker: Worker, jobs: int) -> None:
        """Note that a worker was given jobs since the last survey."""
        load = self._loads.get(worker, 0) + jobs
        self._loads[worker] = DEEPEST if worker.is_congested else load

    def held_up(self, credit: Credit, service_time: float) -> list[Worker]:
        """Return the workers with jobs behind a long job, or behind many, that another worker could run sooner."""
        loads = self._loads.values()
        idle = 0 in loads
        if not idle and not any(room_for(load, credit) for load in loads):
            return []
        found = []
        for worker in self.ready:
            sequence, age = self._states[worker]
            if is_held_up(worker.held, age, service_time, begun=sequence != 0, idle=idle):
                found.append(worker)
        return found

    def plan_visit(self, service_time: float) -> float | None:
        """Promise workers that may soon have results a visit. Return the seconds until it; None if none is needed."""
        is_rare, fewest, longest = False, DEEPEST, LONGEST_CHUNK_VISIT
        for worker in self.attached:
            sequence, age = self._states[worker]
            if (held := worker.held) > 1 and age <= HELD_UP:
                if len(worker.in_hand) == 1:
                    is_rare = True  # it is in its last chunk, and announces the end at once
                    continue
                self.promise_visit(worker)
                fewest = min(fewest, held)
                if not worker.has_chunks:
                    longest = LONGEST_VISIT
            elif held > 1:
                worker.peek()  # no visit follows; after a long item the worker announces what has ended
            elif held and (not sequence or worker.state is State.LOST):
                is_rare = True  # it is suspended or has lost its socket, and announces nothing
        if self.has_promised:
            return visit_pause(service_time, fewest, longest)
        return _RARE_VISIT if is_rare else None
