"""One run of one workload: a simulated queue on a simulated host, sized by a law through the monitor of real queues."""

import random
from collections.abc import Callable
from typing import Any

from bench.autoscaler.host import Host, Loop
from bench.autoscaler.records import Outcome, Samples
from bench.autoscaler.simulated_queue import SimulatedQueue
from bench.autoscaler.workloads import Workload
from event_collector.handlers.collector import ADAPTIVE, COROUTINE, PROCESS, Collector
from event_collector.sizing.control_loop import ControlLoop
from event_collector.sizing.gauges import Gauges
from event_collector.sizing.sizes import Sizes
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector.values.clock import TimeSource, clock
from event_collector_workers.autoscaler import Autoscaler, Change, MachineReading, ScalingLaw
from event_collector_workers.machine.freshness import Freshness

DECISION_EACH = 1e-6
INTERVAL = 0.05
MACHINE_REFRESH = 2.0


class Simulation:
    """A queue on a host, and what becomes of its events. Something else sizes its pools."""

    def __init__(self, workload: Workload, seed: int, *, free: bool = False) -> None:
        self.workload, self.seed = workload, seed
        self.host = Host(workload)
        self.loop = Loop(self.host)
        self.outcome = Outcome()
        self.queue = SimulatedQueue(self.host, self.loop, self.outcome, free=free, changing=self.pay, ready=self.note)
        self.consumers: Callable[[], int] = lambda: self.queue.permits.size
        self._paid_until = 0.0
        if any(one.mode in (PROCESS, ADAPTIVE) for one in self.queue.collectors):
            self.queue.workers.start_one()

    def run(self) -> Outcome:
        """Let the whole workload pass."""
        host, end = self.host, self.workload.duration
        for event in self.workload.arrivals(self.seed):
            while host.pass_until(event.at):
                pass
            self.queue.send(event)
        while host.pass_until(end):
            pass
        self.pay()
        self.outcome.lost = self.queue.workers.killed
        self.outcome.latencies += [host.now - job.event.at for job in self.queue.open]
        return self.outcome

    def pay(self) -> None:
        """Account for the sizes that held until now."""
        passed = self.host.now - self._paid_until
        self._paid_until = self.host.now
        workers = self.queue.workers
        self.outcome.worker_seconds += passed * (workers.size + workers.starting)

    def note(self) -> None:
        """Draw the course, and see whether the capacity for the step is there."""
        queue, workload = self.queue, self.workload
        consumers, ready = self.consumers(), queue.workers.size
        self.outcome.course.append((self.host.now, consumers, ready, queue.qsize))
        if workload.step is None or self.host.now < workload.step or self.outcome.reached is not None:
            return
        on_loop = any(one.place != PROCESS for one in queue.collectors)
        if ready + (consumers if on_loop else 0) >= 0.9 * workload.needed:
            self.outcome.reached = self.host.now - workload.step


class Monitored:
    """A simulation whose pools a law sizes, asked by a `ControlLoop`."""

    def __init__(self, workload: Workload, law: ScalingLaw, seed: int) -> None:
        self._simulation = simulation = Simulation(workload, seed)
        queue = simulation.queue
        instruments = SimulatedInstruments(simulation)
        movable = [one for one in queue.collectors if one.mode == ADAPTIVE]
        adaptive = None
        if movable:
            adaptive = AdaptiveTier(movable, queue.workers, None, queue.redirect, SILENT)  # type: ignore[arg-type]
        workers = queue.workers if movable or any(one.mode == PROCESS for one in queue.collectors) else None
        self._sizes = Sizes(queue, workers, adaptive, self._note_change, SILENT)
        with clock.using(SimulatedTime(simulation.host)):
            gauges = Gauges(
                queue, queue.collectors, workers, adaptive, None, instruments, in_groups=isinstance(law, Autoscaler)
            )
            monitor = ControlLoop(queue, NOBODY, law, gauges, self._sizes, instruments, NOBODY, INTERVAL, SILENT)
        queue.awake = monitor.wake
        simulation.consumers = lambda: self._sizes.wanted()[0]

    def run(self) -> Outcome:
        """Let the whole workload pass."""
        with clock.using(SimulatedTime(self._simulation.host)):
            return self._simulation.run()

    def _note_change(self, change: Change) -> None:
        simulation = self._simulation
        simulation.pay()
        simulation.outcome.actions += 1
        simulation.outcome.changed.append(simulation.host.now)
        simulation.outcome.reasons.append(f"{simulation.host.now:.2f} {change}")


class SimulatedTime(TimeSource):
    """The time of a simulation."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def monotonic(self) -> float:
        return self._host.now


class SimulatedTimer:
    """A call that is due later."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class SimulatedInstruments:
    """What the monitor measures with: the simulated loop, machine and steps. A look takes its time of the loop."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._host, self._loop = simulation.host, simulation.loop
        self._noise = random.Random(f"noise {simulation.seed}")
        self._cost = simulation.workload.decision + DECISION_EACH * len(simulation.queue.collectors)
        self._machine: MachineReading | None = None
        self._freshness = Freshness(MACHINE_REFRESH)

    def call_later(self, delay: float, callback: Callable[[], Any]) -> SimulatedTimer:
        timer = SimulatedTimer()
        self._host.at(self._host.now + delay, self._due, (timer, callback))
        return timer

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self._loop.run(0.0, _call, callback)

    def process_time(self) -> float:
        return self._loop.busy

    def loop_time(self) -> float:
        return self._loop.busy

    def loop_delay(self) -> float:
        return self._loop.delay

    def machine(self, now: float, own_cpu: float) -> MachineReading:
        if self._freshness.is_due(now) or self._machine is None:
            self._machine = self._read_machine()
        return self._machine

    def sampler(self, collector: Collector, adaptive: AdaptiveTier | None) -> Samples | None:
        if collector.mode not in (ADAPTIVE, COROUTINE):
            return None
        return self._simulation.queue.samplers.setdefault(collector.key, Samples(self._noise))

    def _due(self, due: tuple[SimulatedTimer, Callable[[], Any]]) -> None:
        if not due[0].is_cancelled:
            self._loop.run(self._cost, self._look, due)

    def _look(self, due: tuple[SimulatedTimer, Callable[[], Any]]) -> None:
        timer, callback = due
        if not timer.is_cancelled:
            callback()
            self._simulation.note()

    def _read_machine(self) -> MachineReading:
        workload, workers = self._host.workload, self._simulation.queue.workers
        used_by_workers = workers.measure_memory()
        reading = MachineReading(
            cpus=min(float(workload.cores), workload.quota(self._host.now)), others=self._host.taken_by_neighbours()
        )
        if workload.memory_limit == float("inf"):
            return reading
        return MachineReading(
            cpus=reading.cpus,
            others=reading.others,
            memory_limit=workload.memory_limit,
            memory_used=workers.memory,
            memory_workers=used_by_workers,
        )


def _call(callback: Callable[[], Any]) -> None:
    callback()


class _Silent:
    """A log that nobody reads. An error is one of the law, or of this simulation."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return self._say

    def error(self, text: str, *, exc_info: BaseException) -> None:
        raise exc_info

    def _say(self, text: str, **fields: object) -> None:
        return None


class _Nobody:
    """Takes no samples and watches nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _ignore


def _ignore(*_: object) -> None:
    return None


SILENT: Any = _Silent()
NOBODY: Any = _Nobody()
