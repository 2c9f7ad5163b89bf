"""The population of workers: how many there are, their replacement, and the breaker.

              +-----------------+
              |                 v
launch --> STARTING --> READY --> RETIRING --> GONE       surplus, recycled or closing: ends after its jobs
              |           |
              +-----------+--> LOST --> GONE              died or was killed: replaced as the breaker allows
"""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, NamedTuple

import psutil

from event_collector_workers.child.birth import Birth
from event_collector_workers.launch.start_method import Launcher
from event_collector_workers.pool.breaker import Breaker
from event_collector_workers.pool.credit import head_start
from event_collector_workers.pool.timer import EarliestTimer
from event_collector_workers.pool.worker import Worker
from event_collector_workers.pool.worker_events import WorkerEvents
from event_collector_workers.pool.worker_state import State
from event_collector_workers.pool_errors import PoolBroken, describe_exit
from event_collector_workers.segments.shared_memory import SharedMemory
from event_collector_workers.transport.frames import WorkerSetup

_SMOOTHING: Final = 0.3  # weight of the newest start in the mean of start-up times
_MEMORY_EVERY: Final = 1.0  # seconds between two readings of the workers' memory
_RELAUNCH: Final = 0.05  # seconds until the next attempt if descriptors or memory ran out


class Lifetime(NamedTuple):
    """Limits of a worker's life. It is replaced at any of the first three; None for no limit."""

    jobs: int | None  # jobs handed to it
    age: float | None  # seconds since it became ready
    memory: int | None  # bytes of memory that only it uses (USS)
    startup: float  # seconds until it is ready
    stop: float  # seconds in which it closes its tasks after its last job


class Crew:
    """Keeps the target number of workers alive. Only this class writes its fields, in the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        launcher: Launcher,
        make_setup: Callable[[], tuple[WorkerSetup, Sequence[int]]],
        events: WorkerEvents[Worker],
        lifetime: Lifetime,
        memory: SharedMemory,
    ) -> None:
        self.workers: list[Worker] = []
        self.target = 0
        self.restarts = 0
        self.startup_seconds = 0.0
        self.past_cpu_seconds = 0.0
        self.breaker = Breaker()
        self.last_failure = ""
        self._lifetime, self._shared_memory = lifetime, memory
        self._loop = loop
        self._launcher = launcher
        self._make_setup = make_setup
        self._events = events
        self._starts: dict[int, int] = {}  # how many workers each number had
        self._retry = EarliestTimer(loop, lambda _late: self.adjust())
        self._timers: dict[Worker, asyncio.TimerHandle] = {}
        self._ages: dict[Worker, asyncio.TimerHandle] = {}
        self._memory_read = 0.0

    def __repr__(self) -> str:
        states = " ".join(f"{state.value}={count}" for state in State if (count := self.count(state)))
        return f"<Crew target={self.target} {states or 'empty'} restarts={self.restarts} {self.breaker!r}>"

    def count(self, state: State) -> int:
        """Return how many workers are in this state."""
        return sum(worker.state is state for worker in self.workers)

    def resize(self, target: int) -> None:
        """Set the target number of workers, and start or retire workers to reach it."""
        self.target = target
        self.adjust()

    def adjust(self) -> None:
        """Start or retire workers until their number is the target."""
        staying = [w for w in self.workers if w.state in (State.STARTING, State.READY) and not w.is_leaving]
        missing = self.target - len(staying)
        if missing > 0:
            self._launch_some(missing)
        for worker in sorted(staying, key=_dispensability)[: max(0, -missing)]:
            self._retire(worker)
        # Workers that are to be replaced serve until enough others are ready, also after the target was lowered.
        leaving = [w for w in self.workers if w.is_leaving and w.state is State.READY]
        for worker in leaving[: max(0, self.count(State.READY) - self.target)]:
            self._retire(worker)

    def replace(self, name: int, *, dry_run: bool = False) -> int:
        """Replace the worker with this process id, or else this number, without a gap; return its process id.

        It takes jobs until its replacement is ready, and finishes those that it has begun. Raises LookupError if no
        worker that is ready is named so. `dry_run`: only find it.
        """
        ready = [w for w in self.workers if w.state is State.READY and not w.is_leaving]
        named = [w for w in ready if w.pid == name] or [w for w in ready if w.number == name]
        if not named:
            known = ", ".join(f"{w.number} (pid {w.pid})" for w in ready)
            raise LookupError(f"there is no ready worker {name}; ready are: {known or 'none'}")
        if not dry_run:
            self._recycle(named[0])
        return named[0].pid or 0

    def on_ready(self, worker: Worker) -> None:
        """Record that a worker is ready. It may replace one that is leaving."""
        self._cancel_timer(worker)
        weight = _SMOOTHING if self.startup_seconds else 1.0
        self.startup_seconds += weight * (worker.startup - self.startup_seconds)
        if self._lifetime.age is not None:
            self._ages[worker] = self._loop.call_later(self._lifetime.age, self._recycle, worker)
        self.adjust()

    def on_answers(self, worker: Worker) -> None:
        """Record that a worker has answered jobs: the breaker closes, and memory limits are checked."""
        if self.breaker.finished():
            self._events.on_breaker(opened=False)
            self.adjust()
        if worker.state is State.RETIRING and not worker.has_jobs:
            self._kill_after(worker, self._lifetime.stop)
        elif self._lifetime.memory is not None and monotonic() - self._memory_read > _MEMORY_EVERY:
            self._memory_read = monotonic()
            for each in self.workers:
                if each.state is State.READY and (memory_of(each) or 0) > self._lifetime.memory:
                    self._recycle(each)

    def on_quota_used(self, worker: Worker, service_time: float) -> None:
        """Record that jobs were handed to a worker with a quota: start its successor in time, retire it at the end."""
        if not worker.allowance:
            worker.retire()
            self.adjust()
        elif worker.allowance <= head_start(self._lifetime.jobs or 0, self.startup_seconds, service_time):
            self._recycle(worker)

    def on_gone(self, worker: Worker) -> None:
        """Forget a worker whose process has ended, and replace it. An end that nobody asked for counts as a death."""
        self._cancel_timer(worker)
        if worker in self._ages:
            self._ages.pop(worker).cancel()
        self.workers.remove(worker)
        self.past_cpu_seconds += worker.page.cpu_seconds
        worker.dispose()
        if not worker.ended_as_meant:
            self._count_death(worker)
        self.adjust()

    def kill_all(self) -> None:
        """End every process now. Each is reported as gone."""
        self.target = 0
        self._retry.disarm()
        for worker in self.workers:
            worker.leave()
            worker.kill()
        if any(worker.pid is None for worker in self.workers):
            self._launcher.reset()

    def _retire(self, worker: Worker) -> None:
        """End a worker: at once if it is idle or has no task open, else after its current job."""
        was_ready = worker.state is State.READY
        if worker.retire():
            if was_ready:
                self._events.on_lost(worker)  # it gets no more jobs, and those that have not started are taken back
            self._kill_after(worker, None if worker.has_jobs else self._lifetime.stop)

    def _recycle(self, worker: Worker) -> None:
        """Replace a worker without a gap: it serves until its replacement is ready."""
        if worker.state is State.READY and not worker.is_leaving:
            worker.leave()
            self.adjust()

    def _launch_some(self, missing: int) -> None:
        wait = self.breaker.wait(monotonic())
        if wait > 0.0:
            self._retry.arm(wait)
            return
        if self.breaker.is_open:
            missing = 1  # half open: one worker is the test
        # Workers that finish their last jobs count too, or short-lived workers would pile up.
        for _ in range(min(missing, 2 * self.target - len(self.workers))):
            self._launch()

    def _launch(self) -> None:
        number = self._free_number()
        start = self._starts.get(number, 0)
        try:
            worker = Worker(Birth(number, start), self._loop, self._events, self._shared_memory, self._lifetime.jobs)
        except OSError as error:
            self.last_failure = f"{type(error).__name__}: {error}"
            if self.breaker.stillborn(monotonic()):
                self._events.on_breaker(opened=True)
            self._retry.arm(max(_RELAUNCH, self.breaker.wait(monotonic())))
            return
        self._starts[number] = start + 1
        self.workers.append(worker)
        complaint = f"it was not ready within {self._lifetime.startup:g} s"
        self._timers[worker] = self._loop.call_later(self._lifetime.startup, self._give_up, worker, complaint)
        worker.launch(self._launcher, *self._make_setup())

    def _free_number(self) -> int:
        """Return the lowest number that no worker has. Those that leave or have left are as good as gone."""
        taken = {w.number for w in self.workers if w.state in (State.STARTING, State.READY) and not w.is_leaving}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _give_up(self, worker: Worker, complaint: str) -> None:
        worker.kill(complaint)
        if worker.pid is None:
            self._launcher.reset()

    def broken_error(self) -> PoolBroken:
        """Return the error of jobs while the breaker is open."""
        retry_in = self.breaker.wait(monotonic())
        text = f"workers die again and again; the pool tries another one in {retry_in:.1f} s"
        return PoolBroken(f"{text}. The last: {self.last_failure}", retry_in=retry_in)

    def _count_death(self, worker: Worker) -> None:
        self.restarts += 1
        complaint = f": {worker.complaint}" if worker.complaint else ""
        self.last_failure = f"worker {worker.number} (pid {worker.pid}) {describe_exit(worker.exitcode)}{complaint}"
        strike = self.breaker.crashed if worker.startup else self.breaker.stillborn
        if strike(monotonic(), worker.made_at):
            self._events.on_breaker(opened=True)

    def _kill_after(self, worker: Worker, delay: float | None) -> None:
        self._cancel_timer(worker)
        if delay is not None:
            self._timers[worker] = self._loop.call_later(delay, worker.kill)

    def _cancel_timer(self, worker: Worker) -> None:
        timer = self._timers.pop(worker, None)
        if timer is not None:
            timer.cancel()


def memory_of(worker: Worker) -> int | None:
    """Return the bytes of memory that only this worker uses (USS); None if they cannot be read."""
    if worker.pid is None:
        return None
    try:
        return int(psutil.Process(worker.pid).memory_full_info().uss)
    except psutil.Error:
        return None


def _dispensability(worker: Worker) -> tuple[bool, bool, int]:
    """Return a sort key by which starting workers precede idle ones, and idle ones precede busy ones."""
    return worker.state is State.READY, worker.has_jobs, worker.held
