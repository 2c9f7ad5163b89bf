"""The traffic of jobs: the backlog, their assignment to workers, results, and cancellation.

submit --> backlog --> hand out (credit) --> worker.in_hand --> records --> job.succeeded / job.failed
              ^                                    |
              +------ taken back: unstarted jobs of a worker that is held up, stopped, or dead
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Final, NoReturn

from event_collector_workers.job import Buffer, ChunkJob, Job
from event_collector_workers.pool.chunk_records import settle_dead, take_record
from event_collector_workers.pool.credit import SHORTEST_VISIT, depth_for
from event_collector_workers.pool.listener import PoolListener, report, tell
from event_collector_workers.pool.roster import Roster
from event_collector_workers.pool.time_limits import TimeLimits
from event_collector_workers.pool.timer import EarliestTimer
from event_collector_workers.pool.worker import Worker
from event_collector_workers.pool_errors import JobCancelled, TaskError, WorkerCrashed
from event_collector_workers.transport.frames import Outcome, Part, Record, size_of

_BYTES_AHEAD: Final = 1024 * 1024  # sent to one worker at once
_SMOOTHING: Final = 0.2  # weight of the newest batch of results in the mean service time
_FIRST_GUESS: Final = 0.002  # seconds of service time before any is known: a depth of 4, or of 16
_DONE: Final = Outcome.DONE.value
_body, _blob = attrgetter("body"), attrgetter("blob")
_WITHDRAWN: Final = object()  # the place of a cancelled job that is still in the backlog


class Traffic:
    """Moves jobs between the backlog and the workers that are ready. Runs in the loop's thread.

    It sets the place of a job: this object for the backlog, the worker that holds it, or None. It calls `on_quiet` when
    every job has its outcome, and `on_quota_used` after it has handed jobs to a worker with a quota.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: PoolListener,
        on_quiet: Callable[[], None],
        on_quota_used: Callable[[Worker, float], None],
        horizon: float,
    ) -> None:
        self.submitted = self.finished = self.failed = self.crashed = 0
        self.service_time, self.room = _FIRST_GUESS, 0  # jobs that workers accept now; negative: those in the backlog
        self._roster, self._loop, self._listener, self._horizon = Roster(), loop, listener, horizon
        self._on_quiet, self._on_quota_used = on_quiet, on_quota_used
        self._backlog, self._withdrawn = deque[Job](), 0
        self._is_turn_due = self._is_looking = self._is_aborted = False
        self._visit = EarliestTimer(loop, self._on_visit)
        self._limits = TimeLimits(loop, self._roster, self._look_at_all, self._vacate)

    def __repr__(self) -> str:
        counts = f"backlog={self.backlog} outstanding={self.outstanding} room={self.room}"
        return f"<Traffic {counts} service_time={self.service_time:.6f} s {self._roster!r}>"

    @property
    def is_idle(self) -> bool:
        """True if a worker has no job, and no job is waiting."""
        return self._roster.has_idle and not self._backlog

    @property
    def has_workers(self) -> bool:
        """True if a worker accepts jobs."""
        return bool(self._roster.ready)

    def waiting(self) -> list[Job]:
        """Return the jobs that no worker holds."""
        return [job for job in self._backlog if job._place is self]

    @property
    def backlog(self) -> int:
        """Jobs that no worker holds."""
        return len(self._backlog) - self._withdrawn

    @property
    def outstanding(self) -> int:
        """Jobs that were submitted and have no outcome yet."""
        return self.submitted - self.finished - self.failed

    # --- jobs in

    def submit(self, jobs: Sequence[Job]) -> None:
        """Accept jobs. Several, or one for an idle worker, are handed out at once. Others, and chunks, wait a turn."""
        for job in jobs:
            if job._place is not None:
                self._refuse(jobs, job)
            job._place = self  # Job.move_to()
        self.submitted += len(jobs)
        self.room -= len(jobs)
        if len(jobs) == 1 and self._roster.has_idle and not (self._backlog or self._is_looking) and jobs[0].count == 1:
            self._give(self._roster.pop_idle(), jobs)
            return
        self._backlog.extend(jobs)
        if len(jobs) > 1 and not self._is_looking:  # a look hands the backlog out at its end
            self._roster.survey(self.service_time)
            self._hand_out()
        else:
            self.plan_turn()

    def _refuse(self, jobs: Sequence[Job], refused: Job) -> NoReturn:
        """Undo the acceptance of the jobs before the refused one."""
        for job in jobs:
            if job is refused and (job._place is not self or job in self._backlog):
                break
            job.move_to(None)
        raise ValueError(f"{refused!r} is in a pool already; a job is submitted once at a time")

    def recall(self, job: Job) -> bool:
        """Take a job back from its worker unless it has begun there; return whether it is in the backlog now."""
        worker = job._place
        if isinstance(worker, Worker):
            worker.collect()
        if isinstance(worker, Worker) and job._place is worker:
            self._requeue(worker.take_back())
            self.plan_turn()
        return job._place is self

    def cancel(self, job: Job) -> bool:
        """Withdraw the job, or kill the worker that is in it. Return False if it is not here or has ended."""
        if self.recall(job):
            self._withdraw(job)
            self._fail(job, JobCancelled("the job was cancelled before it started"), 0.0)
            self.plan_turn()  # it may have been the last one in the way: without jobs nothing else computes the room
        elif isinstance(job._place, Worker):
            self._cancel_in(job._place, job)
        else:
            return False
        return True

    def go_on(self, job: Job, credit: int) -> None:
        """Have a job give so many parts more; 0: have it end. A no-op if no worker has it."""
        worker = job._place
        if isinstance(worker, Worker):
            worker.go_on(job, credit)
            if job.limit is not None:
                self._limits.watch(job.limit)

    def _withdraw(self, job: Job) -> None:
        """Leave a gap in the backlog; close all gaps once they are more than half of it."""
        job.move_to(_WITHDRAWN)
        self._withdrawn += 1
        if 2 * self._withdrawn > len(self._backlog):
            for gap in self._backlog:
                if gap._place is _WITHDRAWN:
                    gap.move_to(None)
            self._backlog = deque(one for one in self._backlog if one._place is self)
            self._withdrawn = 0

    def fail_backlog(self, error_for: Callable[[], BaseException]) -> None:
        """Fail all jobs in the backlog, each with a new error."""
        for job in self._next_jobs(len(self._backlog), sys.maxsize):
            self._fail(job, error_for(), 0.0)

    def abort(self) -> None:
        """From now on, a job that ends with its worker fails with PoolClosed."""
        self._is_aborted = True

    def close(self) -> None:
        """Cancel the timers."""
        self._visit.disarm()
        self._limits.close()

    # --- workers

    def attach(self, worker: Worker) -> None:
        """Hand jobs to a worker that is ready."""
        self._roster.attach(worker)
        self._roster.survey(self.service_time)
        self.plan_turn()

    def release(self, worker: Worker) -> None:
        """Hand no more jobs to the worker, and take back those that have not started."""
        if worker in self._roster.ready:
            self._roster.exclude(worker)
            self._roster.survey(self.service_time)
            self._requeue(worker.take_back())
            self.plan_turn()

    def settle(self, worker: Worker) -> None:
        """Fail the job during which the worker's process ended, and take back all others."""
        self.release(worker)
        self._roster.detach(worker)
        worker.peek()
        (last, since), jobs = worker.page.running(), worker.take_all()
        error_of = partial(worker.death_error, aborted=self._is_aborted)
        self._requeue([job for sequence, job in jobs.items() if sequence > last])
        for sequence, job in jobs.items():
            if sequence <= last and isinstance(job, ChunkJob):
                self.crashed += settle_dead(sequence, job, last, max(0.0, monotonic() - since), error_of)
                self._end_chunk(job)
            elif sequence <= last:
                self.crashed += isinstance(error := error_of(sequence), WorkerCrashed)
                self._fail(job, error, max(0.0, monotonic() - since))
        self.plan_turn()

    # --- results

    def plan_turn(self) -> None:
        """Look for results and hand out jobs at the end of this turn of the loop."""
        if not (self._is_turn_due or self._is_looking):
            self._is_turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if self._is_turn_due:  # else a look has taken place since
            self._look_at_all()

    def _look_at_all(self) -> None:
        self.look(self._roster.attached)

    def look(self, workers: Iterable[Worker]) -> None:
        """Collect the available results, then hand out jobs as far as there is room."""
        self._is_looking = True
        for worker in workers:
            if worker.in_hand and worker.collect() and len(worker.in_hand) > 1:
                # At once, or each job that ends during the rest of the look would be announced.
                self._roster.promise_visit(worker)
        if not self.outstanding and self.room > 0:
            self._rest()
            return
        self._roster.survey(self.service_time)
        self._offer_room()  # jobs that are submitted now are handed out with the others
        self._is_looking = self._is_turn_due = False
        self._hand_out()

    def on_records(self, worker: Worker, records: list[Record], blob: Buffer | None) -> None:
        """Hand each result to its job."""
        remove_job, seconds, done = worker.remove_job, 0.0, 0
        for sequence, outcome, elapsed, body in records:
            try:
                job = remove_job(sequence)
            except KeyError:
                worker.kill(f"it answered job {sequence}, which it does not have")
                break
            if job is None:
                worker.confirm_taken()
            elif outcome == _DONE:
                seconds += elapsed
                done += 1
                job._place = None  # Job.move_to()
                try:
                    job.succeeded(body, blob, elapsed)
                except BaseException as error:
                    report(error, job.succeeded)
            elif isinstance(job, ChunkJob) and outcome != Outcome.ERROR:
                total, is_over = take_record(worker, job, (sequence, outcome, elapsed, body), blob)
                seconds += total
                if is_over:
                    self._end_chunk(job)
            elif outcome == Outcome.ERROR:
                self._fail(job, TaskError(body.decode(errors="replace"), pid=worker.pid), elapsed)
            elif (reason := worker.kill_error(sequence)) is not None:
                self._fail(job, reason, elapsed)  # it was cancelled while the worker was about to skip it
            else:
                self._requeue([job])
        self.finished += done
        self.service_time += _SMOOTHING * (seconds / len(records) - self.service_time)
        tell(self._listener.answers)
        if not self.outstanding:
            self._on_quiet()
        if not self._is_looking:
            self._follow(len(records))

    def _end_chunk(self, job: ChunkJob) -> None:
        job.move_to(None)
        self.finished += 1
        tell(job.ended)
        if not self.outstanding:
            self._on_quiet()

    def on_part(self, worker: Worker, part: Part, blob: Buffer | None) -> None:
        """Hand a part to its job."""
        job = worker.in_hand.get(part[0])
        if job is None:
            if part[0] not in worker.in_hand:  # else it was given up
                worker.kill(f"it gave a part of job {part[0]}, which it does not have")
        elif not job.produced(part[1], blob):
            worker.suspend(part[0])
            self.plan_turn()  # it has room again

    def _follow(self, count: int) -> None:
        """Go on after `count` results outside of a look, such as large ones: look if jobs are waiting."""
        if self._backlog or self.room <= 0:
            self.plan_turn()
        else:
            depth = depth_for(self.service_time, self._horizon)  # jobs may have become slower
            self.room = min(self.room + count, len(self._roster.ready) * depth)
            self._roster.note_idle()

    def _rest(self) -> None:
        """End a look after which there is no job anywhere: the quick way."""
        self._is_looking = self._is_turn_due = False
        self._roster.note_idle()
        self.room = self._roster.room_of_idle(depth_for(self.service_time, self._horizon))

    # --- jobs out

    def _hand_out(self) -> None:
        """Give the backlog to the workers as far as their credit goes. A survey precedes it."""
        roster, credit = self._roster, self._roster.credit(self.service_time, self._horizon)
        if held_up := roster.held_up(credit, self.service_time):
            for worker in held_up:
                self._requeue(worker.take_back())
            roster.survey(self.service_time)
        has_backlog = bool(self._backlog)
        if has_backlog:
            for worker, share in roster.share_out(self.backlog, credit):
                if worker in roster.ready:  # giving to a worker may find it, or another one, lost
                    jobs = self._next_jobs(share)
                    self._give(worker, jobs)
                    roster.add_load(worker, len(jobs))
        roster.note_idle()
        pause = roster.plan_visit(self.service_time)
        if pause is not None:
            self._visit.arm(pause)
        if held_up or has_backlog:
            self._offer_room()

    def _offer_room(self) -> None:
        """Compute the room from the loads, and report if there was none before."""
        before = self.room
        self.room = self._roster.room(self._roster.credit(self.service_time, self._horizon)) - self.backlog
        if before <= 0 < self.room:
            tell(self._listener.room)

    def _give(self, worker: Worker, jobs: Sequence[Job]) -> None:
        for job in jobs:
            # Before they are sent: that may find the worker lost, and requeue them.
            job._place = worker  # Job.move_to()
            if job.limit is not None:
                self._limits.watch(job.limit)
        worker.give(jobs)
        if worker.quota is not None and worker in self._roster.ready:  # else it was found lost and was released
            if not worker.allowance:
                self._roster.exclude(worker)
            self._on_quota_used(worker, self.service_time)

    def _next_jobs(self, count: int, size: int = _BYTES_AHEAD) -> list[Job]:
        """Remove the next `count` jobs from the backlog; fewer as soon as they have `size` bytes."""
        take, count = self._backlog.popleft, min(count, self.backlog)
        jobs = [] if self._withdrawn else [take() for _ in range(count)]  # those are gaps
        if jobs and not any(map(_blob, jobs)) and sum(map(len, map(_body, jobs))) < size:
            return jobs
        self._backlog.extendleft(reversed(jobs))
        jobs = []
        while len(jobs) < count and size > 0:
            while (job := take())._place is not self:
                job.move_to(None)
                self._withdrawn -= 1
            jobs.append(job)
            size -= len(job.body) + (0 if job.blob is None else size_of(job.blob))
        return jobs

    def _requeue(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.move_to(self)
        self._backlog.extendleft(reversed(jobs))

    def _vacate(self, worker: Worker, sequence: int) -> bool:
        """Have others run the jobs of a worker that will be killed in this one; return False if that has ended."""
        self._requeue(worker.take_back())
        is_in_it = worker.give_up(sequence)
        if is_in_it:
            self.release(worker)
        self.plan_turn()
        return is_in_it

    def _on_visit(self, _late: float) -> None:
        self._roster.begin_visit()
        self._look_at_all()

    # --- cancellation, failures

    def _cancel_in(self, worker: Worker, job: Job) -> None:
        if job in worker.suspended:
            worker.go_on(job, 0)
            return
        # 0: it was given up
        first, held = next(((number, held) for number, held in worker.in_hand.items() if held is job), (0, job))
        sequence = max(first, min(worker.page.running()[0], first + held.count - 1))
        text = f"the job was cancelled while it ran; its worker (pid {worker.pid}) was killed"
        if not worker.condemn(sequence, JobCancelled(text)):
            self._loop.call_later(SHORTEST_VISIT, self.cancel, job)  # it is about to start the job or to skip it
        self.plan_turn()

    def _fail(self, job: Job, error: BaseException, elapsed: float) -> None:
        self.failed += 1
        if job._place is not _WITHDRAWN:
            job.move_to(None)
        tell(job.failed, error, elapsed)
        if not self.outstanding:
            self._on_quiet()
