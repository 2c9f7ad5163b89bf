"""The simulated worker processes: started, stopped, and killed when the memory runs out."""

from collections import deque
from collections.abc import Callable

from bench.autoscaler.host import Host
from bench.autoscaler.records import Job
from event_collector.tiers.workers.worker_tier import WorkerReading
from event_collector_workers.environment import DEFAULT_GROUP
from event_collector_workers.pool.credit import LONG_HORIZON, SHALLOWEST, credit_for
from event_collector_workers.statistics import PoolStatistics

RESTART_PAUSE = 0.5
SMOOTHING = 0.1


class WorkerTier:
    """How many workers there are and will be, and the events that they hold. `free` starts them at once for nothing.

    Workers hold events in advance, as the pool has it. Which one holds which is left out: a worker that runs dry takes
    over what another has not begun.

    `changing` is called before a number changes, `has_room` when workers can take more, `ended` and `killed` with a
    job.
    """

    def __init__(
        self,
        host: Host,
        *,
        free: bool,
        changing: Callable[[], None],
        has_room: Callable[[], None],
        ended: Callable[[Job], None],
        lost: Callable[[Job], None],
    ) -> None:
        self._host, self._free = host, free
        self._changing, self._has_room, self._ended, self._lost = changing, has_room, ended, lost
        self._starting: set[int] = set()
        self._number = self._retiring = 0
        self._held: deque[Job] = deque()
        self._running: dict[Job, None] = {}
        self._memory: int | None = None  # of the largest one, when it was read
        self._service = self._startup = 0.0
        self._submitted = self._finished = 0
        self.target = self.size = self.killed = 0

    @property
    def starting(self) -> int:
        """Workers that are not ready yet."""
        return len(self._starting)

    @property
    def in_hand(self) -> int:
        """Events that workers hold."""
        return len(self._held) + len(self._running)

    @property
    def room(self) -> int:
        """Events that workers can take now; one if there is no worker, since an event starts one."""
        if not self.size:
            return int(not self._held)
        depth = credit_for(self._service, LONG_HORIZON).depth if self._service else SHALLOWEST
        return max(0, self.size * depth - self.in_hand)

    # What the monitor reads and sets

    @property
    def groups(self) -> dict[str, "WorkerTier"]:
        """The only group."""
        return {DEFAULT_GROUP: self}

    def gauge(self) -> WorkerReading:
        """Return the figures of this moment, and the memory as it was last read."""
        cores = self._host.cores
        cores.advance(self._host.now)
        pool = PoolStatistics(
            target=self.target,
            ready=self.size,
            starting=self.starting,
            busy=min(self.size, self.in_hand),
            backlog=0 if self.size else len(self._held),
            submitted=self._submitted,
            finished=self._finished,
            failed=0,
            crashed=self.killed,
            restarts=self.killed,
            service_seconds=self._service,
            startup_seconds=self._startup,
            cpu_seconds=cores.done,
            workers=(),
        )
        return WorkerReading(pool, cores.done, cores.delay, self._memory)

    def measure_memory(self) -> int:
        """Read the memory of all workers."""
        workload = self._host.workload
        if self.size:
            self._memory = int(workload.worker_memory + (workload.job_memory if self._running else 0.0))
        return int(self.memory - workload.base_memory)

    @property
    def memory(self) -> float:
        """Bytes in use, by this program as a whole."""
        workload = self._host.workload
        workers = workload.worker_memory * (self.size + 0.5 * self.starting)
        return workload.base_memory + workers + workload.job_memory * len(self._running)

    def resize(self, size: int) -> None:
        """Start what is missing, or stop the idle, then the starting, then the busy ones when they are done."""
        self._changing()
        self.target = size
        self._fill()
        surplus = max(0, self.size + self.starting - self._retiring - size)
        idle = min(surplus, max(0, self.size - len(self._running)))
        self.size -= idle
        cancelled = sorted(self._starting)[: -(surplus - idle) - 1 : -1]
        self._starting.difference_update(cancelled)
        self._retiring += surplus - idle - len(cancelled)

    # The way of a job

    def submit(self, jobs: list[Job]) -> None:
        """Take jobs in."""
        self._submitted += len(jobs)
        self._held += jobs
        self._begin()
        if not self.size and not self.starting:
            self.resize(max(1, self.target))

    def _begin(self) -> None:
        while self._held and len(self._running) < self.size - self._retiring:
            job = self._held.popleft()
            self._running[job] = None
            job.began = self._host.now
            self._host.compute(job.part(), self._wait, job, counted=True)
        self._check_memory()

    def _wait(self, job: Job) -> None:
        if job.event.waiting:
            self._host.wait(job.event.source, job.event.waiting, self._go_on, job)
        else:
            self._finish(job)

    def _go_on(self, job: Job) -> None:
        self._host.compute(job.part(), self._finish, job, counted=True)

    def _finish(self, job: Job) -> None:
        if job.killed:
            return
        job.wall = self._host.now - job.began
        del self._running[job]
        self._finished += 1
        self._service += (job.wall - self._service) * (SMOOTHING if self._service else 1.0)
        if self._retiring:
            self._changing()
            self._retiring -= 1
            self.size -= 1
        self._begin()
        self._ended(job)

    # The life of a worker

    def start_one(self) -> None:
        """Have one that is ready from the beginning: it has proved that the handlers can be imported."""
        workload = self._host.workload
        self.target = self.size = 1
        self._startup = workload.startup_latency + workload.startup_cpu

    def _fill(self) -> None:
        missing = max(0, self.target - (self.size + self.starting - self._retiring))
        called_back = min(missing, self._retiring)
        self._retiring -= called_back
        for _ in range(missing - called_back):
            self._start()
        self._begin()

    def _start(self) -> None:
        if self._free:
            self.size += 1
            return
        self._number += 1
        self._starting.add(self._number)
        self._host.compute(self._host.workload.startup_cpu, self._booted, (self._number, self._host.now))

    def _booted(self, start: tuple[int, float]) -> None:
        self._host.at(self._host.now + self._host.workload.startup_latency, self._started, start)

    def _started(self, start: tuple[int, float]) -> None:
        number, began = start
        if number not in self._starting:
            return
        self._changing()
        self._starting.remove(number)
        self.size += 1
        took = self._host.now - began
        self._startup = took if not self._startup else 0.7 * self._startup + 0.3 * took
        self._begin()
        self._has_room()

    def _check_memory(self) -> None:
        """Kill workers until the memory fits, as the kernel would; each is started again after a pause."""
        while self.memory > self._host.workload.memory_limit and self.size:
            self._changing()
            self.size -= 1
            self.killed += 1
            if len(self._running) > self.size:
                self._kill(next(iter(self._running)))
            self._retiring = min(self._retiring, self.size)
            self._host.at(self._host.now + RESTART_PAUSE, self._restart, None)

    def _kill(self, job: Job) -> None:
        del self._running[job]
        job.killed, job.wall = True, self._host.now - job.began
        self._finished += 1
        self._lost(job)

    def _restart(self, _: None) -> None:
        self._changing()
        self._fill()
