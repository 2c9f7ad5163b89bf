"""How long a process was ready to run, but not running: what the scheduler of the system knows."""

from pathlib import Path

__all__ = ["run_delay"]


def run_delay(pid: int, proc: Path = Path("/proc")) -> float | None:
    """Return the seconds that the main thread of a process has waited for a CPU so far; None where nobody knows.

    Linux tells it in the second field of /proc/PID/schedstat, in nanoseconds.
    """
    try:
        return int((proc / str(pid) / "schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # another system, a process that is gone
        return None
