"""How long a thread was ready to run, but not running: what the scheduler of the system knows."""

from pathlib import Path

__all__ = ["run_delay"]


def run_delay(tid: int, proc: Path = Path("/proc")) -> float | None:
    """Return the seconds that a thread has waited for a CPU so far; None where nobody knows.

    A process's id is that of its main thread. Linux tells it in nanoseconds, second in /proc/TID/schedstat.
    """
    try:
        return int((proc / str(tid) / "schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # another system, a process that is gone
        return None
