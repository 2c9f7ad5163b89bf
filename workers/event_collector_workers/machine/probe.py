"""The probe of the machine: it combines control groups, affinity and psutil into one reading."""

import math
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import psutil

from event_collector_workers.autoscaler.readings import MachineReading
from event_collector_workers.machine.control_groups import GroupLimits, read_limits
from event_collector_workers.machine.freshness import Freshness

_T = TypeVar("_T")

_CPU_SPAN: Final = 0.5
"""Seconds between the readings that say what other programs use. The system counts in hundredths of a second."""


def granted_cpus(root: Path = Path("/")) -> float:
    """Return how many cores this process may use, above 0. A quota of half a core is 0.5.

    It is the smaller of the CPU quota of its control groups and the number of its CPUs. The latter is the value of
    `PYTHON_CPU_COUNT` or `-X cpu_count`, else its affinity. `root` holds `proc` and `sys`.
    """
    return _granted(read_limits(root))


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return how many bytes this process and its children may use together; None if unknown.

    It is the smaller of the limit of its control groups and the memory of the host. `root` holds `proc` and `sys`.
    """
    host = _attempt(_host_memory)
    limits = (read_limits(root).memory_limit, host[0] if host else None)
    return min((limit for limit in limits if limit), default=None)


class Machine:
    """Reads the resources that the machine grants, at most every few seconds.

    If a probe raises or returns an impossible value, its last value is kept, and the reading is not `trusted`.
    `own_cpu` returns the CPU seconds used so far by this process and its workers together; by default the process tree
    is walked. `workers_memory` returns the bytes that the workers use; it is called together with the other probes of
    memory. A reading is reused for `refresh` seconds, for less at first; see `Freshness`. `root` holds `proc` and
    `sys`.
    """

    def __init__(
        self,
        own_cpu: Callable[[], float] | None = None,
        workers_memory: Callable[[], float] | None = None,
        *,
        refresh: float = 2.0,
        root: Path = Path("/"),
    ) -> None:
        self._own_cpu = own_cpu or _process_tree_cpu
        self._workers_memory = workers_memory or _nothing
        self._freshness = Freshness(refresh)
        self._root = root
        self._last = MachineReading()
        self._cpu_seen: tuple[float, float, float] | None = None

    def __repr__(self) -> str:
        return f"Machine({self._last!r})"

    def read(self, now: float) -> MachineReading:
        """Return a reading. `now`: seconds of a monotonic clock. After a backward jump it is a fresh one."""
        if not self._freshness.is_due(now):
            return self._last
        limits = read_limits(self._root)
        cpus = _granted(limits)
        others = _attempt(lambda: self._used_by_others(now, cpus))
        host = _attempt(_host_memory)
        limit, used = _tightest(limits, host)
        workers_memory = _attempt(self._workers_memory)
        self._last = MachineReading(
            cpus=cpus,
            others=self._last.others if others is None else others,
            memory_limit=self._last.memory_limit if limit is None else limit,
            memory_used=self._last.memory_used if limit is None else used,
            memory_workers=self._last.memory_workers if workers_memory is None else workers_memory,
            trusted=None not in (others, host, workers_memory),
        )
        return self._last

    def _used_by_others(self, now: float, granted: float) -> float:
        """Return how many of the granted cores other programs have used since the last reading.

        Other programs are assumed to use first the cores of the host that are not granted to this one.
        """
        total, busy, cores = _host_cpu()
        own = self._own_cpu()
        if not math.isfinite(own):
            raise ValueError(f"own_cpu() answered {own!r}")
        seen = self._cpu_seen
        if seen is None:
            self._cpu_seen = total, busy, own
            return 0.0
        share = (total - seen[0]) / cores
        if share <= _CPU_SPAN:
            return self._last.others or 0.0
        self._cpu_seen = total, busy, own
        others = (busy - seen[1] - (own - seen[2])) / share
        return min(granted, max(0.0, others - max(0.0, cores - granted)))


def _granted(limits: GroupLimits) -> float:
    count = float(_declared_cpus() or _available() or 1)
    return count if limits.cpus is None else min(count, limits.cpus)


def _available() -> int | None:
    with suppress(OSError):  # a sandbox refuses the call
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _declared_cpus() -> int | None:
    """Return the number of CPUs that the user declared. Python 3.13 and later use it in os.cpu_count() too."""
    declared = sys._xoptions.get("cpu_count")
    if declared is None and not sys.flags.ignore_environment:
        declared = os.environ.get("PYTHON_CPU_COUNT")
    if not isinstance(declared, str) or not declared.isdecimal():
        return None
    return int(declared) or None


def _tightest(limits: GroupLimits, host: tuple[int, int] | None) -> tuple[int | None, int | None]:
    rooms = [host] if host else []
    if limits.memory_limit is not None:
        rooms.append((limits.memory_limit, limits.memory_used))
    return min(rooms, key=lambda room: room[0] - room[1], default=(None, None))


def _host_memory() -> tuple[int, int]:
    """Return the bytes of memory of the host, and how many are in use."""
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    if not _all_sane((total, available)):
        raise ValueError(f"psutil reports {total!r} bytes of memory, {available!r} available")
    return int(total), int(total - available)


def _host_cpu() -> tuple[float, float, int]:
    """Return the seconds that all CPUs of the host have counted, how many of them were busy, and the number of CPUs."""
    times = psutil.cpu_times()
    fields = times._asdict()
    # Linux counts guests twice: they are also part of user and nice.
    total = sum(seconds for name, seconds in fields.items() if not name.startswith("guest"))
    idle = fields["idle"] + fields.get("iowait", 0.0)
    cores = psutil.cpu_count() or 0
    if not _all_sane((total, cores)) or not math.isfinite(idle):
        raise ValueError(f"psutil reports {total!r} CPU seconds, {idle!r} idle, on {cores!r} CPUs")
    return total, total - idle, cores


def _process_tree_cpu() -> float:
    own = os.times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        seconds += times.user + times.system
    return seconds


def _nothing() -> float:
    return 0.0


def _all_sane(values: Iterable[float]) -> bool:
    return all(math.isfinite(value) and value > 0 for value in values)


def _attempt(probe: Callable[[], _T]) -> _T | None:
    """Return the result of a probe, or None if it fails: a broken probe must not break the program."""
    try:
        return probe()
    except Exception:  # psutil passes on platform errors of many classes
        return None
