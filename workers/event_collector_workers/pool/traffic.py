"""The traffic of jobs: the backlog, who gets what, which results are in, which job is over its time.

submit --> backlog --> hand out (credit) --> worker.in_hand --> records --> job.succeeded / job.failed
              ^                                    |
              +------ taken back: unstarted jobs of a worker that is held up, stopped, or dead
"""

from __future__ import annotations

import sys
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from event_collector_workers.errors import (
    JobCancelled,
    JobTimeout,
    PoolClosed,
    TaskError,
    WorkerCrashed,
    describe_exit,
)
from event_collector_workers.pool.credit import (
    DEEPEST,
    HELD_UP,
    HORIZON,
    SHORTEST_VISIT,
    Credit,
    credit_for,
    depth_for,
    is_held_up,
    load_of,
    room_for,
    share_out,
    visit_pause,
)
from event_collector_workers.pool.timer import EarliestTimer
from event_collector_workers.pool.worker import State, Worker
from event_collector_workers.transport.frames import Outcome, Record

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from event_collector_workers.job import Job

__all__ = ["Dispatcher"]

_BYTES_AHEAD: Final = 1024 * 1024  # sent to one worker in one go
_SMOOTHING: Final = 0.2  # weight of the newest batch of results in the mean service time
_FIRST_GUESS: Final = 0.002  # service time before any is known: a depth of 4, or of 16
_RARE_VISIT: Final = 0.02  # seconds between two looks at workers that may be unable to announce anything
_DONE: Final = Outcome.DONE.value
_WITHDRAWN: Final = object()  # the place of a job that was cancelled and still stands in the backlog
_LAG: Final = (
    0.5  # a deadline checked later than this was missed by us, not by the job: it gets as much again
)


class Dispatcher:
    """Moves jobs between the backlog and the workers that are ready. All of it runs in the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_room: Callable[[], None],
        on_quiet: Callable[[], None],
        on_spent: Callable[[Worker], None],
        on_answers: Callable[[], None],
        horizon: float = HORIZON,
    ) -> None:
        self.ready: list[Worker] = []
        self._attached: list[Worker] = []  # ready, and those that were and whose process is still there
        self.submitted = 0
        self.finished = 0
        self.failed = 0
        self.crashed = 0
        self.service_time = _FIRST_GUESS
        self._loop = loop
        self._on_room = on_room
        self._on_quiet = on_quiet
        self._on_spent = on_spent
        self._on_answers = on_answers
        self._horizon = horizon
        self._aborted = False
        self._backlog: deque[Job] = deque()
        self._withdrawn = 0
        self._idle: list[Worker] = []
        self._states: dict[Worker, tuple[int, float]] = {}  # see Worker.running
        self._loads: dict[Worker, int] = {}  # of those that are ready
        self.room = 0
        """How many more jobs the workers take now; below 0, so many wait in the backlog."""
        self._turn_due = False
        self._looking = False
        self._visit_due = False  # whether a worker was promised a look
        self._visit = EarliestTimer(loop, self._on_visit)
        self._deadline = EarliestTimer(loop, self._check_deadlines)

    @property
    def is_idle(self) -> bool:
        """Whether a worker has nothing to do, and no job waits for one."""
        return bool(self._idle) and not self._backlog

    @property
    def backlog(self) -> int:
        """How many jobs wait here, in no worker's hands."""
        return len(self._backlog) - self._withdrawn

    @property
    def outstanding(self) -> int:
        """How many jobs were submitted and have no outcome yet."""
        return self.submitted - self.finished - self.failed

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs: one for an idle worker at once, several at once too, one for a busy worker in the next turn."""
        for job in jobs:
            if job._place is not None:
                raise ValueError(f"{job!r} is in a pool already; a job is submitted once at a time")
            job._place = self
        self.submitted += len(jobs)
        self.room -= len(jobs)
        if len(jobs) == 1 and self._idle and not (self._backlog or self._looking):
            self._give(self._idle.pop(), jobs)
            return
        self._backlog.extend(jobs)
        if self._looking:
            return  # what is in the backlog is handed out as the look ends
        if len(jobs) > 1:
            self._survey()
            self._hand_out()
        else:
            self.plan_turn()

    def plan_turn(self) -> None:
        """Look at the results and hand out jobs at the end of this turn of the loop."""
        if not (self._turn_due or self._looking):
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def cancel(self, job: Job) -> bool:
        """Withdraw the job, or kill the worker that is in it; False when it is not here or has ended."""
        place = job._place
        if isinstance(place, Worker):
            place.collect()
            place = job._place
        if place is self:
            self._withdrawn += 1
            job._place = _WITHDRAWN
            self._fail(job, JobCancelled("the job was cancelled before it started"), 0.0)
        elif isinstance(place, Worker):
            self._cancel_in(place, job)
        else:
            return False
        return True

    def look(self, workers: Iterable[Worker]) -> None:
        """Take the results that are there, then hand out what there is room for."""
        self._looking = True
        for worker in workers:
            if worker.in_hand and worker.collect() and worker.held > 1:
                # At once, or each job that ends while the others are looked at would be announced.
                worker.page.promise()
                self._visit_due = True
        if not self.outstanding and self.room > 0:
            self._rest()
            return
        self._survey()
        self._offer_room()  # what is submitted now goes out with the rest
        self._looking = self._turn_due = False
        self._hand_out()

    def _rest(self) -> None:
        """End a look after which no job is anywhere: what there is to do then is quickly done."""
        self._looking = self._turn_due = False
        self._note_idle()
        depth = depth_for(self.service_time, self._horizon)
        self.room = sum(min(depth, worker.allowance) for worker in self.ready)

    def _hand_out(self) -> None:
        """Give the backlog to the workers as far as their credit goes; after a survey."""
        credit = credit_for(self.service_time, self._horizon)
        if changed := self._relieve(credit):
            self._survey()
        if self._backlog:
            changed = True
            workers = list(self.ready)
            shares = share_out(len(self._backlog), [self._loads[worker] for worker in workers], credit)
            for worker, share in zip(workers, shares, strict=True):
                if share and worker in self.ready:  # giving to one may cost it, or another, its place here
                    jobs = self._next_jobs(min(share, worker.allowance))
                    self._give(worker, jobs)
                    load = self._loads.get(worker, 0) + len(jobs)
                    self._loads[worker] = DEEPEST if worker.is_congested else load
        self._note_idle()
        self._plan_visit()
        if changed:
            self._offer_room()

    def _note_idle(self) -> None:
        """Note who would begin at once: not a worker that has yet to say what became of jobs taken back from it."""
        self._idle = [worker for worker in self.ready if not worker.in_hand]

    def _survey(self) -> None:
        """Note the job that each worker is in, for how many seconds, and the load that this makes."""
        now, service_time = monotonic(), self.service_time
        self._states = states = {worker: worker.running(now) for worker in self._attached}
        self._loads = {
            worker: (
                DEEPEST if worker.is_congested else load_of(worker.held, states[worker][1], service_time)
            )
            if worker.in_hand
            else 0
            for worker in self.ready
        }

    def _offer_room(self) -> None:
        """Count how many more jobs the workers take, by their loads, and tell if there were none before."""
        credit, loads, before = credit_for(self.service_time, self._horizon), self._loads, self.room
        room = -len(self._backlog)
        for worker in self.ready:
            room += min(room_for(loads[worker], credit), worker.allowance)
        self.room = room
        if before <= 0 < room:
            self._on_room()

    def attach(self, worker: Worker) -> None:
        """Let a worker that is ready take jobs."""
        self._attached.append(worker)
        self.ready.append(worker)
        self._survey()
        self.plan_turn()

    def release(self, worker: Worker) -> None:
        """Give the worker no more jobs, and take back what it has not started."""
        if worker in self.ready:
            self.ready.remove(worker)
            self._survey()
            self._idle = []
            self._requeue(worker.take_back())
            self.plan_turn()

    def settle(self, worker: Worker) -> None:
        """The worker's process has ended: fail the job that it was in, take back all others."""
        self.release(worker)
        if worker in self._attached:
            self._attached.remove(worker)
        last, since = worker.page.running()
        orphans = worker.in_hand
        worker.in_hand = {}
        self._requeue([job for number, job in orphans.items() if job is not None and number > last])
        for sequence, job in orphans.items():
            if job is not None and sequence <= last:
                self.crashed += 1
                self._fail(job, self._cause(worker, sequence), max(0.0, monotonic() - since))
        self.plan_turn()

    def fail_backlog(self, error_for: Callable[[], BaseException]) -> None:
        """Fail all that no worker has; each job gets an error of its own."""
        jobs = self._next_jobs(len(self._backlog), limit=None)
        for job in jobs:
            self._fail(job, error_for(), 0.0)

    def on_records(self, worker: Worker, records: list[Record], blob: bytes | None) -> None:
        """Hand each result to its job."""
        in_hand = worker.in_hand
        total, done = 0.0, 0
        for sequence, outcome, elapsed, body in records:
            try:
                job = in_hand.pop(sequence)
            except KeyError:
                worker.complaint = f"it answered job {sequence}, which it does not have"
                worker.kill()
                break
            if job is None:
                worker.taken -= 1
            elif outcome == _DONE:
                total += elapsed
                done += 1
                job._place = None
                try:
                    job.succeeded(body, blob, elapsed)
                except Exception as error:
                    self._report(job, error)
            elif outcome == Outcome.ERROR:
                self._fail(job, TaskError(body.decode(errors="replace"), pid=worker.pid), elapsed)
            else:
                self._requeue([job])
        self.finished += done
        worker.finished += len(records)
        self.service_time += _SMOOTHING * (total / len(records) - self.service_time)
        self._on_answers()
        if not self.outstanding:
            self._on_quiet()
        if not self._looking:
            self._follow(len(records))

    def _follow(self, count: int) -> None:
        """Go on after so many results that came outside a look, such as large ones: with a look if anybody waits."""
        if self._backlog or self.room <= 0:
            self.plan_turn()
        else:
            depth = depth_for(self.service_time, self._horizon)  # jobs may have become slower
            self.room = min(self.room + count, len(self.ready) * depth)
            self._note_idle()

    def abort(self) -> None:
        """From now on, what ends with its worker ends because the pool was stopped."""
        self._aborted = True

    def close(self) -> None:
        """Drop the timers: the pool is over."""
        self._visit.disarm()
        self._deadline.disarm()

    def _turn(self) -> None:
        if self._turn_due:  # else somebody has looked since
            self.look(self._attached)

    def _give(self, worker: Worker, jobs: Sequence[Job]) -> None:
        worker.give(jobs)
        for job in jobs:
            if job.timeout is not None:
                self._deadline.arm(job.timeout)
        if worker.quota is not None and worker in self.ready:  # else it was found dead, and has been released
            if not worker.allowance:
                self.ready.remove(worker)
            self._on_spent(worker)

    def _next_jobs(self, count: int, limit: int | None = _BYTES_AHEAD) -> list[Job]:
        """Take the next `count` jobs out of the backlog; fewer if they are large."""
        jobs: list[Job] = []
        pop, append = self._backlog.popleft, jobs.append
        room = sys.maxsize if limit is None else limit
        for _ in range(min(count, len(self._backlog))):
            job = pop()
            if job._place is self:
                append(job)
                room -= len(job.body)
                if job.blob is not None:
                    room -= len(job.blob)
                if room <= 0:
                    break
            else:
                job._place = None
                self._withdrawn -= 1
        return jobs

    def _requeue(self, jobs: list[Job]) -> None:
        for job in jobs:
            job._place = self
        self._backlog.extendleft(reversed(jobs))

    def _relieve(self, credit: Credit) -> bool:
        """Take back what waits behind a job that takes long, or many, if somebody else could do it sooner."""
        loads = self._loads.values()
        idle = 0 in loads
        if not idle and not any(room_for(load, credit) for load in loads):
            return False
        held_up = []
        for worker in self.ready:
            sequence, age = self._states[worker]
            if is_held_up(worker.held, age, self.service_time, begun=sequence != 0, idle=idle):
                held_up.append(worker)
        for worker in held_up:
            self._requeue(worker.take_back())
        return bool(held_up)

    def _plan_visit(self) -> None:
        """Promise another look to the workers that may have more results soon; the others announce theirs."""
        rare, fewest = False, DEEPEST
        for worker in self._attached:
            sequence, age = self._states[worker]
            if (held := worker.held) > 1 and age <= HELD_UP:
                worker.page.promise()
                self._visit_due = True
                fewest = min(fewest, held)
            elif held and (not sequence or worker.state is State.LOST):
                rare = True  # it says nothing: it is stopped, or has lost its socket
        if self._visit_due:
            self._visit.arm(visit_pause(self.service_time, fewest))
        elif rare:
            self._visit.arm(_RARE_VISIT)

    def _on_visit(self, _late: float) -> None:
        self._visit_due = False
        self.look(self._attached)

    def _check_deadlines(self, late: float) -> None:
        self.look(self._attached)
        for worker in list(self._attached):
            current, running_for = worker.running()
            for sequence, job in list(worker.in_hand.items()):
                if job is None or job.timeout is None:
                    continue
                left = job.timeout - running_for if sequence == current else job.timeout
                if left > 0:
                    self._deadline.arm(left)
                elif late > _LAG:  # this program stood still, perhaps the worker did too
                    self._deadline.arm(min(late, 1.0))
                else:
                    self._expire(worker, sequence, job.timeout)

    def _expire(self, worker: Worker, sequence: int, timeout: float) -> None:
        error = JobTimeout(
            f"the job ran longer than its timeout of {timeout:g} s; its worker (pid {worker.pid}) was killed",
            pid=worker.pid,
            timeout=timeout,
        )
        self._requeue(worker.take_back())
        worker.condemn(sequence, error)
        self.plan_turn()

    def _cancel_in(self, worker: Worker, job: Job) -> None:
        sequence = next(number for number, held in worker.in_hand.items() if held is job)
        self._requeue(worker.take_back())
        if job._place is worker and not worker.condemn(
            sequence,
            JobCancelled(f"the job was cancelled while it ran; its worker (pid {worker.pid}) was killed"),
        ):
            # The worker is about to start the job or to skip it; a moment later it is known which.
            self._loop.call_later(SHORTEST_VISIT, self.cancel, job)
        elif job._place is self:
            self.cancel(job)
        self.plan_turn()

    def _cause(self, worker: Worker, sequence: int) -> BaseException:
        if worker.verdict is not None and worker.verdict.sequence == sequence:
            return worker.verdict.error
        if self._aborted:
            return PoolClosed("the pool was stopped while this job ran; it may have taken effect")
        complaint = f"; {worker.complaint}" if worker.complaint else ""
        return WorkerCrashed(
            f"worker {worker.number} (pid {worker.pid}) {describe_exit(worker.exitcode)} while it ran this job"
            f"{complaint}; the job may have taken effect. Look for what ended the process: a crash in native "
            "code, too little memory, os._exit or sys.exit",
            pid=worker.pid,
            exitcode=worker.exitcode,
        )

    def _fail(self, job: Job, error: BaseException, elapsed: float) -> None:
        if job._place is not _WITHDRAWN:
            job._place = None
        self.failed += 1
        try:
            job.failed(error, elapsed)
        except Exception as failure:
            self._report(job, failure)
        if not self.outstanding:
            self._on_quiet()

    def _report(self, job: Job, error: Exception) -> None:
        self._loop.call_exception_handler(
            {"message": f"a job's callback raised: {job!r}", "exception": error}
        )
