"""The simulated queue: the way of its events over the loop, with the permits and counters of a real one."""

from collections import deque
from collections.abc import Callable

from bench.autoscaler.host import Host, Loop
from bench.autoscaler.records import Job, Outcome, Samples, collector_of
from bench.autoscaler.worker_tier import WorkerTier
from bench.autoscaler.workloads import Event
from event_collector.dispatch.permits import ConsumerLimits, Permits
from event_collector.dispatch.turns import SLICE
from event_collector.events.gate import WAIT, Gate
from event_collector.handlers.collector import PROCESS
from event_collector.watching.metrics import Counts

MOST_CONSUMERS = 10_000


class SimulatedQueue:
    """One queue. The attributes and methods after `accept()` are those that a `ControlLoop` knows of a `Dispatcher`.

    `awake` is called when an event comes while the monitor rests, `waits` when one has to wait.
    """

    def __init__(
        self, host: Host, loop: Loop, outcome: Outcome, *, free: bool, changing: Callable[[], None],
        ready: Callable[[], None],
    ) -> None:  # fmt: skip
        self._host, self._loop, self._outcome, self._ready = host, loop, outcome, ready
        self.collectors = [collector_of(source) for source in host.workload.sources]
        self.samplers: dict[str, Samples] = {}
        self.workers = WorkerTier(
            host, free=free, changing=changing, has_room=self._has_room, ended=self._answered, lost=self._lost
        )
        self._here: deque[Job] = deque()
        self._remote: deque[Job] = deque()
        self._is_pumping = False
        self._slice_ends = 0.0
        self.open: dict[Job, None] = {}
        self.awake: Callable[[], None] = _nothing
        self.waits: Callable[[], None] = _nothing
        self.is_idle = False
        self.accepted = self.attempts = 0
        self.service_total = 0.0
        self.on_loop = 0
        self.gate = Gate(0, WAIT)
        self.gate.open()
        self.permits = Permits(ConsumerLimits(1, MOST_CONSUMERS, autoscale=True))
        self.figures = self

    def send(self, event: Event) -> None:
        """Have an event accepted as soon as the loop gets to it."""
        job = Job(event)
        self.open[job] = None
        self._loop.run(self._host.workload.dispatch, self._accept, job)

    def _accept(self, job: Job) -> None:
        self.accepted += 1
        collector = self.collectors[job.event.source]
        if collector.place == PROCESS:
            self._remote.append(job)
            self._hand_out()
        elif not self._here and self._has_time() and self.permits.take():
            self._begin(job)
        else:
            self._here.append(job)
            self._pump()
        if self.is_idle:
            self.is_idle = False
            self.awake()
        if self.qsize:
            self.waits()

    # Events on the loop

    def _pump(self) -> None:
        if self._here and not self._is_pumping and self.permits.busy < max(self.permits.size, self.permits.ceiling):
            self._run_pump()

    def _run_pump(self) -> None:
        self._is_pumping = True
        self._loop.run(0.0, self._begin_next, None)

    def _has_time(self) -> bool:
        """Return whether an event may begin in this turn of the loop; see `Turns` of real queues."""
        now = self._host.now
        if now >= self._slice_ends:
            if self._is_pumping:
                return False
            self._slice_ends = now + SLICE
            self._run_pump()
        return True

    def _begin_next(self, _: None) -> None:
        self._is_pumping = False
        self._slice_ends = self._host.now + SLICE
        if self._here and self.permits.take():
            self._begin(self._here.popleft())
            self._pump()

    def _begin(self, job: Job) -> None:
        collector = self.collectors[job.event.source]
        collector.usage.began()
        self.on_loop += 1
        job.began = self._host.now
        sampler = self.samplers.get(collector.key)
        if sampler is not None:
            sampler.begin(job)
        self._loop.go_on(job.part(), self._stepped, job)

    def _stepped(self, job: Job) -> None:
        self._count_step(job)
        if job.event.waiting:
            self._host.wait(job.event.source, job.event.waiting, self._waited, job)
        else:
            self._finish(job)

    def _waited(self, job: Job) -> None:
        self._loop.run(job.part(), self._finish_step, job)

    def _finish_step(self, job: Job) -> None:
        self._count_step(job)
        self._finish(job)

    def _count_step(self, job: Job) -> None:
        if job.sampler is not None:
            job.held += self._host.now - self._loop.began
            job.steps += 1

    def _finish(self, job: Job) -> None:
        if job.sampler is not None:
            job.sampler.add(job)
        job.wall = self._host.now - job.began
        self.on_loop -= 1
        self.collectors[job.event.source].usage.ended(job.wall)
        self._end(job)

    # Events in workers

    def _hand_out(self) -> None:
        while self._remote and (room := self.workers.room) > 0 and (free := self.permits.free()) > 0:
            batch = [self._remote.popleft() for _ in range(min(room, free, len(self._remote)))]
            self.permits.take_many(len(batch))
            for job in batch:
                collector = self.collectors[job.event.source]
                for usage in _usages(collector):
                    usage.began()
            self.workers.submit(batch)

    def _has_room(self) -> None:
        self._hand_out()
        self._ready()

    def _answered(self, job: Job) -> None:
        self._loop.run(0.0, self._end_remote, job)

    def _end_remote(self, job: Job) -> None:
        for usage in _usages(self.collectors[job.event.source]):
            usage.ended(job.wall)
        self._end(job)

    def _lost(self, job: Job) -> None:
        """Lose the event of a killed worker: it stays open to the end."""
        for usage in _usages(self.collectors[job.event.source]):
            usage.ended(job.wall)
        self.permits.give_back()

    def _end(self, job: Job) -> None:
        self.permits.give_back()
        self.attempts += 1
        self.service_total += job.wall
        del self.open[job]
        self._outcome.completed += 1
        self._outcome.latencies.append(self._host.now - job.event.at)
        self._hand_out()
        self._pump()

    # What the monitor reads and sets

    @property
    def qsize(self) -> int:
        return len(self._here) + len(self._remote)

    ready = qsize

    @property
    def ready_remote(self) -> int:
        return len(self._remote)

    @property
    def busy(self) -> int:
        return self.permits.busy

    @property
    def size(self) -> int:
        return self.permits.size

    @property
    def active(self) -> int:
        return self.qsize + self.permits.busy

    def counts(self) -> Counts:
        return Counts(self.accepted, self.attempts, self.qsize, self.busy, self.size)

    def resize(self, size: int) -> None:
        self.permits.resize(size)
        self._hand_out()
        self._pump()

    def rest(self, idle: bool) -> None:
        self.is_idle = idle

    def redirect(self) -> None:
        """Have events that wait go where their collectors are now, in the order they came."""
        waiting = sorted([*self._here, *self._remote], key=lambda job: job.event.at)
        self._here.clear()
        self._remote.clear()
        for job in waiting:
            is_remote = self.collectors[job.event.source].place == PROCESS
            (self._remote if is_remote else self._here).append(job)
        self._hand_out()
        self._pump()


def _usages(collector):  # type: ignore[no-untyped-def]
    usage, part = collector.usage, collector.remote_usage
    return (usage,) if part is None or part is usage else (usage, part)


def _nothing() -> None:
    return None
