"""The surroundings of the tiers: the last known cores, memory, load of the event loop, and cost of a worker."""

from event_collector_workers.autoscaler.estimates import Counter, Smoothed, is_known
from event_collector_workers.autoscaler.readings import Readings, TierReading
from event_collector_workers.autoscaler.tier_sizing import Budget
from event_collector_workers.autoscaler.tuning import Tuning


class Surroundings:
    """Keeps the last usable value of each reading of the machine and the worker pool.

    `recent_loop_share` is the share of recent time in which the event loop was busy, `present_loop_share` that of the
    last instants: a blocked loop must get no more consumers. `startup` is the seconds that a worker takes to start.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._loop_busy = Counter()
        self._loop_share = Smoothed(tuning.loop_memory)
        self.recent_loop_share = Smoothed(tuning.recent_loop_memory)
        self.present_loop_share = Smoothed(tuning.present_loop_memory)
        self._others_share = Smoothed(tuning.others_memory)
        self._cpus, self._others = 1.0, 0.0
        self._memory_limit: float | None = None
        self._memory_used = self._memory_others = 0.0
        self._worker_memory = float(tuning.assumed_memory)
        self.startup = 0.0

    @property
    def budget(self) -> Budget:
        """The share of the machine for workers: always at least one core, so that work goes on."""
        cores = self._cpus - self._loop_share.value - self._others_share.value
        return Budget(max(1.0, cores), self._memory_limit, self._memory_others, self._worker_memory)

    def update(self, dt: float, readings: Readings) -> bool:
        """Process the readings. Return whether all of them were usable."""
        busy = self._loop_busy.growth(readings.loop_busy)
        if dt > 0.0:
            for average in (self._loop_share, self.recent_loop_share, self.present_loop_share):
                average.add(dt, min(1.0, busy / dt))
        machine = readings.machine
        self._cpus, cpus_known = _latest(machine.cpus, self._cpus)
        self._others, others_known = _latest(machine.others, self._others)
        self._others_share.add(dt, self._others)
        self.startup, startup_known = _latest(readings.worker_startup, self.startup)
        self._worker_memory, worker_known = _latest(readings.worker_memory, self._worker_memory)
        known = cpus_known and others_known and startup_known and worker_known and not self._loop_busy.is_doubtful
        return self._update_memory(readings) and known and machine.trusted

    def _update_memory(self, readings: Readings) -> bool:
        limit = readings.machine.memory_limit
        limit_known = limit is None or is_known(limit)
        if limit_known:
            self._memory_limit = limit
        self._memory_used, used_known = _latest(readings.machine.memory_used, self._memory_used)
        self._memory_others = self._beside_workers(readings.workers)
        return limit_known and used_known

    def _beside_workers(self, workers: TierReading) -> float:
        """Return the bytes in use outside of workers.

        A starting worker does not have all of its memory yet, but is counted in full. Meanwhile the last value is a
        lower bound, so that the difference does not look like memory that other programs have freed.
        """
        beside = max(0.0, self._memory_used - (workers.size + workers.starting) * self._worker_memory)
        return max(beside, self._memory_others) if workers.starting else beside


def _latest(reading: float | None, last: float) -> tuple[float, bool]:
    """Return the reading, or the last one if it is unusable, and whether it was usable. None counts as usable."""
    if reading is None:
        return last, True
    return (reading, True) if is_known(reading) else (last, False)
