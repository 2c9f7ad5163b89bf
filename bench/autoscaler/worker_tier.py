"""The simulated worker processes: started, stopped, and killed when the memory runs out."""

from collections.abc import Callable

from bench.autoscaler.host import Host

RESTART_PAUSE = 0.5


class WorkerTier:
    """How many workers there are and will be. `free` starts them in no time and for nothing.

    `changing` is called before a number changes, `ready_now` when a worker has become ready, `kill` when a busy one
    has been killed.
    """

    def __init__(
        self,
        host: Host,
        *,
        free: bool,
        changing: Callable[[], None],
        ready_now: Callable[[], None],
        kill: Callable[[], None],
    ) -> None:
        self._host, self._free = host, free
        self._changing, self._ready_now, self._kill = changing, ready_now, kill
        self._starting: set[int] = set()
        self._number = 0
        self._retiring = 0
        self.target = self.ready = self.busy = self.killed = 0
        self.startup: float | None = None

    @property
    def starting(self) -> int:
        return len(self._starting)

    @property
    def memory(self) -> float:
        """Bytes in use, by this program as a whole."""
        workload = self._host.workload
        return workload.base_memory + workload.worker_memory * (self.ready + 0.5 * self.starting)

    def resize(self, size: int) -> None:
        """Start what is missing, or stop the idle, then the starting, then the busy ones when they are done."""
        self._changing()
        self.target = size
        self._fill()
        surplus = max(0, self.ready + self.starting - self._retiring - size)
        idle = min(surplus, self.ready - self.busy)
        self.ready -= idle
        cancelled = sorted(self._starting)[: -(surplus - idle) - 1 : -1]
        self._starting.difference_update(cancelled)
        self._retiring += surplus - idle - len(cancelled)

    def done(self) -> None:
        """A busy worker has finished its event."""
        self.busy -= 1
        if self._retiring:
            self._changing()
            self._retiring -= 1
            self.ready -= 1

    def _fill(self) -> None:
        missing = max(0, self.target - (self.ready + self.starting - self._retiring))
        called_back = min(missing, self._retiring)
        self._retiring -= called_back
        for _ in range(missing - called_back):
            self._start()
        self._check_memory()

    def _start(self) -> None:
        if self._free:
            self.ready += 1
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
        self.ready += 1
        took = self._host.now - began
        self.startup = took if self.startup is None else 0.7 * self.startup + 0.3 * took
        self._check_memory()
        self._ready_now()

    def _check_memory(self) -> None:
        """Kill workers until the memory fits, as the kernel would; each is started again after a pause."""
        while self.memory > self._host.workload.memory_limit and self.ready:
            self._changing()
            self.ready -= 1
            self.killed += 1
            if self.busy > self.ready:
                self.busy -= 1
                self._kill()
            self._retiring = min(self._retiring, self.ready)
            self._host.at(self._host.now + RESTART_PAUSE, self._restart, None)

    def _restart(self, _: None) -> None:
        self._changing()
        self._fill()
