"""The population of workers: how many there are, who replaces whom, and when to stop trying.

              +-----------------+
              |                 v
launch --> STARTING --> READY --> RETIRING --> GONE       surplus, recycled or closing: ends after its job
              |           |
              +-----------+--> LOST --> GONE              died or was killed: replaced as the breaker allows
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import psutil

from event_collector_workers.errors import describe_exit
from event_collector_workers.pool.breaker import Breaker
from event_collector_workers.pool.credit import head_start
from event_collector_workers.pool.worker import State, Worker

if TYPE_CHECKING:
    import asyncio

    from event_collector_workers.launch.launchers import Launcher
    from event_collector_workers.pool.worker import WorkerEvents
    from event_collector_workers.transport.frames import Setup

__all__ = ["Crew", "CrewEvents", "Recycling"]

_SMOOTHING: Final = 0.3  # weight of the newest start in the mean of start-up times
_MEMORY_EVERY: Final = 1.0  # seconds between two readings of a worker's memory


class Recycling:
    """When a worker has served long enough; None for no limit.

    Args:
        jobs: Jobs handed to it.
        age: Seconds since it was started.
        memory: Bytes of memory that only it uses (USS).

    """

    def __init__(self, jobs: int | None = None, age: float | None = None, memory: int | None = None) -> None:
        self.jobs = jobs
        self.age = age
        self.memory = memory


class CrewEvents(Protocol):
    """What the crew tells its pool."""

    def on_breaker(self, *, opened: bool) -> None:
        """The breaker opened or closed."""


class Crew:
    """Keeps as many workers alive as were asked for. All of it runs in the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        launcher: Launcher,
        setup: Setup,
        events: CrewEvents,
        worker_events: WorkerEvents,
        *,
        startup_timeout: float,
        stop_timeout: float,
        recycling: Recycling,
    ) -> None:
        self.workers: list[Worker] = []
        self.target = 0
        self.restarts = 0
        self.startup_seconds = 0.0
        self.past_cpu_seconds = 0.0
        self.breaker = Breaker()
        self.last_failure = ""
        self.recycling = recycling
        self._loop = loop
        self._launcher = launcher
        self._setup = setup
        self._events = events
        self._worker_events = worker_events
        self._startup_timeout = startup_timeout
        self._stop_timeout = stop_timeout
        self._number = 0
        self._retry: asyncio.TimerHandle | None = None
        self._timers: dict[Worker, asyncio.TimerHandle] = {}
        self._ages: dict[Worker, asyncio.TimerHandle] = {}
        self._memory_read = 0.0

    def count(self, state: State) -> int:
        """Return how many workers are in that state."""
        return sum(worker.state is state for worker in self.workers)

    def adjust(self) -> None:
        """Start or retire workers until there are as many as asked for."""
        staying = [w for w in self.workers if w.state in (State.STARTING, State.READY) and not w.leaving]
        missing = self.target - len(staying)
        if missing > 0:
            self._launch_some(missing)
        for worker in sorted(staying, key=_dispensable)[: max(0, -missing)]:
            self.retire(worker)
        # Those that are to be replaced serve until there are enough without them: also when fewer are asked for.
        leaving = [w for w in self.workers if w.leaving and w.state is State.READY]
        for worker in leaving[: max(0, self.count(State.READY) - self.target)]:
            self.retire(worker)

    def retire(self, worker: Worker) -> None:
        """Let a worker end: at once if it is idle or has nothing open yet, else after what it is in."""
        worker.leaving = True
        if worker.state is State.STARTING:
            if worker.retire():  # what it has begun to open, it closes
                self._kill_after(worker, self._stop_timeout)
        elif worker.state is State.READY:
            worker.retire()
            self._worker_events.on_lost(
                worker
            )  # nothing more is given to it, what has not started is taken back
            self._kill_after(worker, None if worker.in_hand else self._stop_timeout)

    def finished_one(self, worker: Worker) -> None:
        """A worker has answered jobs: it works, and perhaps it has served long enough."""
        if self.breaker.finished():
            self._events.on_breaker(opened=False)
            self.adjust()
        if worker.state is State.RETIRING and not worker.in_hand:
            self._kill_after(worker, self._stop_timeout)
        elif self.recycling.memory is not None and monotonic() - self._memory_read > _MEMORY_EVERY:
            self._memory_read = monotonic()
            for each in self.workers:
                if each.state is State.READY and (memory_of(each) or 0) > self.recycling.memory:
                    self.recycle(each)

    def recycle(self, worker: Worker) -> None:
        """Replace a worker without a gap: it serves on until its replacement is ready."""
        if worker.state is State.READY and not worker.leaving:
            worker.leaving = True
            self.adjust()

    def spent(self, worker: Worker, service_time: float) -> None:
        """A worker with a quota was handed jobs: it may be time for its successor, or it ends after them."""
        if not worker.allowance:
            worker.leaving = True
            worker.retire()
            self.adjust()
        elif worker.allowance <= head_start(self.recycling.jobs or 0, self.startup_seconds, service_time):
            self.recycle(worker)

    def became_ready(self, worker: Worker) -> None:
        """A worker is ready: it may replace one that is leaving."""
        self._cancel_timer(worker)
        weight = _SMOOTHING if self.startup_seconds else 1.0
        self.startup_seconds += weight * (worker.startup - self.startup_seconds)
        if self.recycling.age is not None:
            self._ages[worker] = self._loop.call_later(self.recycling.age, self.recycle, worker)
        self.adjust()

    def ended(self, worker: Worker) -> None:
        """A worker's process has ended: forget it, and replace it if it was not meant to end."""
        self._cancel_timer(worker)
        if worker in self._ages:
            self._ages.pop(worker).cancel()
        self.workers.remove(worker)
        self.past_cpu_seconds += worker.page.cpu_seconds
        worker.dispose()
        if not worker.leaving:
            self._count_death(worker)
        self.adjust()

    def kill_all(self) -> None:
        """End every process now; each is reported as gone."""
        self.target = 0
        self.forget_retry()
        for worker in self.workers:
            worker.leaving = True
            worker.kill()

    def forget_retry(self) -> None:
        """Start no worker later on."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _launch_some(self, missing: int) -> None:
        wait = self.breaker.wait(monotonic())
        if wait > 0.0:
            self._retry_in(wait)
            return
        if self.breaker.is_open:
            missing = 1  # half open: one worker finds out
        # Those that finish their last jobs count too, or short-lived workers would pile up.
        for _ in range(min(missing, 2 * self.target - len(self.workers))):
            self._launch()

    def _launch(self) -> None:
        self._number += 1
        try:
            worker = Worker(self._number, self._loop, self._worker_events, self.recycling.jobs)
        except OSError as error:  # no descriptors or memory left
            self.last_failure = f"{type(error).__name__}: {error}"
            if self.breaker.stillborn(monotonic()):
                self._events.on_breaker(opened=True)
            self._retry_in(max(0.05, self.breaker.wait(monotonic())))
            return
        self.workers.append(worker)
        self._timers[worker] = self._loop.call_later(self._startup_timeout, self._give_up, worker)
        worker.launch(self._launcher, self._setup)

    def _give_up(self, worker: Worker) -> None:
        worker.complaint = f"it was not ready within {self._startup_timeout:g} s"
        worker.kill()

    def _count_death(self, worker: Worker) -> None:
        now = monotonic()
        self.restarts += 1
        self.last_failure = f"worker {worker.number} (pid {worker.pid}) {describe_exit(worker.exitcode)}" + (
            f": {worker.complaint}" if worker.complaint else ""
        )
        stillborn = worker.startup == 0.0
        if (self.breaker.stillborn if stillborn else self.breaker.crashed)(now):
            self._events.on_breaker(opened=True)

    def _retry_in(self, wait: float) -> None:
        if self._retry is None:
            self._retry = self._loop.call_later(wait, self._on_retry)

    def _on_retry(self) -> None:
        self._retry = None
        self.adjust()

    def _kill_after(self, worker: Worker, delay: float | None) -> None:
        self._cancel_timer(worker)
        if delay is not None:
            self._timers[worker] = self._loop.call_later(delay, worker.kill)

    def _cancel_timer(self, worker: Worker) -> None:
        timer = self._timers.pop(worker, None)
        if timer is not None:
            timer.cancel()


def memory_of(worker: Worker) -> int | None:
    """Return the bytes of memory that only this worker uses; None when the process cannot be asked."""
    if worker.pid is None:
        return None
    try:
        return int(psutil.Process(worker.pid).memory_full_info().uss)
    except psutil.Error:
        return None


def _dispensable(worker: Worker) -> tuple[bool, bool, int]:
    """Sort the workers that are best missed first: starting before idle before busy."""
    return worker.state is State.READY, bool(worker.in_hand), worker.held
