"""CPU time, time of waiting for a CPU, and memory of this process and its descendants."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import psutil

NANOSECONDS = 1e9


class GaugeReading(NamedTuple):
    """Seconds used until one instant."""

    own_cpu: float
    own_queued: float
    worker_cpu: float
    worker_queued: float

    def __sub__(self, other: "GaugeReading") -> "GaugeReading":
        # The counters of a descendant that has ended are lost.
        return GaugeReading(*(max(0.0, mine - its) for mine, its in zip(self, other, strict=True)))


class Gauge:
    """Reads the counters of this process and of its descendants."""

    def __init__(self) -> None:
        self._self = psutil.Process()

    def read(self) -> GaugeReading:
        """Return the current counters."""
        cpu = queued = 0.0
        for child in self._self.children(recursive=True):
            spent, waited = _counters(child)
            cpu, queued = cpu + spent, queued + waited
        return GaugeReading(time.process_time(), _schedule(os.getpid())[1], cpu, queued)

    def memory(self) -> tuple[int, int]:
        """Return the private bytes of this process, and those of its descendants."""
        return _memory(self._self), sum(map(_memory, self._self.children(recursive=True)))


def _counters(process: psutil.Process) -> tuple[float, float]:
    spent, waited = _schedule(process.pid)
    if spent:
        return spent, waited
    try:
        times = process.cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0, 0.0
    return times.user + times.system, 0.0


def _schedule(pid: int) -> tuple[float, float]:
    """Return the seconds on a CPU and of waiting for one, over all threads; zeros without Linux's schedstat."""
    spent = waited = 0.0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            run, wait, _ = (task / "schedstat").read_text().split()
            spent, waited = spent + int(run) / NANOSECONDS, waited + int(wait) / NANOSECONDS
    except (OSError, ValueError):  # no /proc, a kernel without schedstat, a thread that has just ended
        return spent, waited
    return spent, waited


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:  # it has just ended, or belongs to another user
        return 0
