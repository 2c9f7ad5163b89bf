"""How long processes and threads have run, and were ready to run without running: what the system's scheduler knows."""

import sys
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["cpu_seconds", "run_delay"]


def run_delay(tid: int, proc: "str | PathLike[str]" = "/proc") -> float | None:
    """Return the seconds that a thread has waited for a CPU so far; None where nobody knows.

    A process's id is that of its main thread. Linux tells it in nanoseconds, second in /proc/TID/schedstat.
    """
    try:
        with open(f"{proc}/{tid}/schedstat", "rb", buffering=0) as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # another system, a process that is gone
        return None


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time that a process has used so far; None when it is gone.

    Linux has a clock for that of each process, whose number clock_getcpuclockid(3) makes of the process id: to read
    it takes a hundredth of the time of looking into /proc.
    """
    try:
        if sys.platform == "linux":
            return time.clock_gettime(~pid << 3 | 2)
        times = psutil.Process(pid).cpu_times()
    except (OSError, psutil.Error):
        return None
    return float(times.user + times.system)
