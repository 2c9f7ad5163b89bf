"""The surroundings of the tiers: the last known cores, memory, load of the event loop, and cost of a worker."""

from event_collector_workers.autoscaler.estimates import Counter, Smoothed, is_known
from event_collector_workers.autoscaler.readings import MachineReading, Readings
from event_collector_workers.autoscaler.tier_sizing import Budget
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMaximum


class Surroundings:
    """Keeps the last usable value of each reading of the machine and the worker pool.

    `loop_share` is the share of recent time in which the event loop was busy, `startup` the seconds that a worker takes
    to start.
    """

    def __init__(self, tuning: Tuning, *, polite: bool) -> None:
        self._is_polite = polite
        self._loop_busy = Counter()
        self.loop_share = Smoothed(tuning.loop_memory)
        self._others_share = Smoothed(tuning.others_memory)
        self._cpus, self._others = 1.0, 0.0
        self._memory_limit: float | None = None
        self._memory_used = self._memory_workers = self._time = 0.0
        self._assumed_memory = float(tuning.assumed_memory)
        self._worker_memory = RollingMaximum(tuning.worker_memory_span)
        self.startup = 0.0

    @property
    def budget(self) -> Budget:
        """The share of the machine for workers: always at least one core, so that work goes on.

        The system divides cores fairly among all processes. A pool that makes room for other programs gets less than
        its share, so it does that only if it is asked to.
        """
        cores = self._cpus - self.loop_share.value - (self._others_share.value if self._is_polite else 0.0)
        # Both were read at the same moment: workers that started or ended since do not look like other programs.
        others = max(0.0, self._memory_used - self._memory_workers)
        worker = self._worker_memory.value(self._time) or self._assumed_memory
        return Budget(max(1.0, cores), self._memory_limit, others, worker)

    def update(self, dt: float, readings: Readings) -> bool:
        """Process the readings. Return whether all of them were usable."""
        self._time += dt
        busy = self._loop_busy.growth(readings.loop_busy)
        if dt > 0.0:
            self.loop_share.add(dt, min(1.0, busy / dt))
        machine = readings.machine
        self._cpus, cpus_known = _latest(machine.cpus, self._cpus)
        self._others, others_known = _latest(machine.others, self._others)
        self._others_share.add(dt, self._others)
        self.startup, startup_known = _latest(readings.worker_startup, self.startup)
        worker_known = self._update_worker_memory(readings)
        known = cpus_known and others_known and startup_known and worker_known and not self._loop_busy.is_doubtful
        return self._update_memory(readings.machine) and known and machine.trusted

    def _update_worker_memory(self, readings: Readings) -> bool:
        """Remember the most that a worker has needed: one that is idle now will need it again."""
        memory = readings.worker_memory
        if memory is not None and is_known(memory):
            self._worker_memory.record(self._time, memory)
        return memory is None or is_known(memory)

    def _update_memory(self, machine: MachineReading) -> bool:
        self._memory_limit, limit_known = _latest_limit(machine.memory_limit, self._memory_limit)
        self._memory_used, used_known = _latest(machine.memory_used, self._memory_used)
        self._memory_workers, workers_known = _latest(machine.memory_workers, self._memory_workers)
        return limit_known and used_known and workers_known


def _latest_limit(reading: float | None, last: float | None) -> tuple[float | None, bool]:
    """Return the reading, or the last one if it is unusable, and whether it was usable. None is no limit."""
    return (reading, True) if reading is None or is_known(reading) else (last, False)


def _latest(reading: float | None, last: float) -> tuple[float, bool]:
    """Return the reading, or the last one if it is unusable, and whether it was usable. None counts as usable."""
    if reading is None:
        return last, True
    return (reading, True) if is_known(reading) else (last, False)
