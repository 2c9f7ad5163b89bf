"""Limits of the control groups of this process: Linux cgroups, version 1, version 2 and both together.

A process belongs to one group for each controller, and every group above that one limits it too. So the smallest
quota on the path to the root counts. Neither the root alone nor the process's own group alone is sufficient.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

_UNLIMITED = 1 << 60
"""Version 1 represents "no limit" by a number close to the largest one."""

_MEMORY_FILES = (
    (("memory.max", "memory.high"), "memory.current", "inactive_file"),
    (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
)
"""For each version: files with a limit, file with the use, key of the part of it that the kernel can reclaim."""


class GroupLimits(msgspec.Struct, frozen=True, gc=False):
    """Limits of the groups of this process."""

    cpus: float | None = None  # seconds of CPU time per second; None without a quota
    memory_limit: int | None = None  # bytes of the group with the least free memory; None without a limit
    memory_used: int = 0  # bytes in use in that group, without the cache that the kernel can reclaim


def read_limits(root: Path = Path("/")) -> GroupLimits:
    """Read the limits of the groups of this process, below `root`. Missing and unreadable files set no limit."""
    mounts = list(_mounts(root))
    cpus = [quota for folder in _folders(root, mounts, "cpu") if (quota := _cpu_quota(folder)) is not None]
    rooms = [room for folder in _folders(root, mounts, "memory") if (room := _memory(folder)) is not None]
    limit, used = min(rooms, key=lambda room: room[0] - room[1], default=(None, 0))
    return GroupLimits(min(cpus, default=None), limit, used)


def _mounts(root: Path) -> Iterator[tuple[frozenset[str], str, str]]:
    """Yield the controllers (version 2: none), the first group and the mount point of each hierarchy."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) >= 5 and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            yield frozenset(kind[2].split(",") if kind[0] == "cgroup" else ()), fields[3], fields[4]


def _folders(root: Path, mounts: list[tuple[frozenset[str], str, str]], controller: str) -> Iterator[Path]:
    """Yield the folders of the group of this process and of the groups above it, in both versions."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        version_2 = number == "0" and not names
        if not version_2 and controller not in names.split(","):
            continue
        for controllers, start, mounted in mounts:
            if (not controllers) if version_2 else (controller in controllers):
                base = root / mounted.lstrip("/")
                yield from _upwards(base, _inside(start, path))


def _inside(start: str, path: str) -> PurePosixPath:
    """Return the group's path below the mount point, which may be inside the tree, as in a container."""
    group = PurePosixPath(path)
    if ".." in group.parts:
        return PurePosixPath()
    for prefix in (start, "/"):
        if group.is_relative_to(prefix):
            return group.relative_to(prefix)
    return PurePosixPath()


def _upwards(base: Path, group: PurePosixPath) -> Iterator[Path]:
    yield base / group
    yield from (base / parent for parent in group.parents if parent != group)


def _cpu_quota(folder: Path) -> float | None:
    fields = _text(folder / "cpu.max").split()
    if not fields:
        fields = [_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()]
    if len(fields) != 2 or not (fields[0].isdecimal() and fields[1].isdecimal()):
        return None
    quota, period = int(fields[0]), int(fields[1])
    return quota / period if quota > 0 and period > 0 else None


def _memory(folder: Path) -> tuple[int, int] | None:
    for limit_names, used_name, cache_name in _MEMORY_FILES:
        limits = [limit for name in limit_names if 0 < (limit := _number(folder / name) or 0) < _UNLIMITED]
        if limits:
            used = _number(folder / used_name) or 0
            return min(limits), max(0, used - _statistic(folder / "memory.stat", cache_name))
    return None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _statistic(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
