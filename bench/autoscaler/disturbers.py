"""Other programs that used the processor while something was measured."""

import os
from types import TracebackType

import psutil

WORTH_TELLING = 0.05


class Disturbers:
    """Watches who uses the processor within its context, besides this program and its children.

    `cores` is how many cores the others used on average, `names` the busiest of them, each with its cores.
    """

    def __init__(self) -> None:
        self.cores = 0.0
        self.names: list[str] = []

    def __enter__(self) -> "Disturbers":
        self._before, self._busy, self._began = _cpu_by_process(), _busy_beside_us(), _now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        passed, after = max(1e-3, _now() - self._began), _cpu_by_process()
        used = {key: (seconds - self._before.get(key, (0.0, ""))[0]) / passed for key, (seconds, name) in after.items()}
        # Processes that were gone at the end are in no list, but the CPUs were busy with them.
        self.cores = max(0.0, _busy_beside_us() - self._busy) / passed
        busiest = sorted(used, key=lambda key: used[key], reverse=True)[:3]
        self.names = [f"{after[key][1]} {used[key]:.2f}" for key in busiest if used[key] > WORTH_TELLING]

    def __str__(self) -> str:
        return f"other programs used {self.cores:.2f} cores ({', '.join(self.names) or 'none of them much'})"


def _now() -> float:
    return os.times().elapsed


def _busy_beside_us() -> float:
    """Return the seconds that all CPUs have been busy, without those of this program and its children."""
    times, own = psutil.cpu_times(), os.times()
    ours = own.user + own.system + own.children_user + own.children_system
    for child in psutil.Process().children(recursive=True):
        ours += sum(child.cpu_times()[:2])
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - ours)


def _cpu_by_process() -> dict[tuple[int, float], tuple[float, str]]:
    """Return the CPU seconds and name of each process that does not belong to this program."""
    own = psutil.Process()
    ours = {own.pid, *(child.pid for child in own.children(recursive=True))}
    found = {}
    for process in psutil.process_iter(["pid", "create_time", "name", "cpu_times"]):
        info = process.info
        if info["pid"] not in ours and info["cpu_times"] is not None:
            seconds = info["cpu_times"].user + info["cpu_times"].system
            found[info["pid"], info["create_time"]] = (seconds, info["name"] or "?")
    return found
