"""What the control groups of this process allow: Linux cgroups, version 1, version 2 and both side by side.

A process belongs to one group for each controller, and every group above that one limits it too. So the
smallest quota on the way up counts; the root alone is wrong as soon as groups are nested, and the own group
alone when a group above it is tighter.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

_UNLIMITED = 1 << 60
"""Version 1 says "no limit" with a number close to the largest one."""

_MEMORY_FILES = (
    (("memory.max", "memory.high"), "memory.current", "inactive_file"),
    (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
)
"""For each version: what limits, what says how much is used, and the part of it the kernel can take back."""


class GroupLimits(msgspec.Struct, frozen=True, gc=False):
    """What is allowed by the groups of this process.

    Args:
        cpus: cores' worth of time per second; None without a quota.
        memory_limit: bytes of the group with the least room; None without a limit.
        memory_used: bytes in use there, without the cache the kernel can take back.

    """

    cpus: float | None = None
    memory_limit: int | None = None
    memory_used: int = 0


def read_limits(root: Path = Path("/")) -> GroupLimits:
    """Read what the groups of this process allow at this moment.

    Files that are missing or make no sense set no limit.

    Args:
        root: where `proc` and `sys` are; a test puts its own there.

    """
    mounts = list(_mounts(root))
    cpus = [quota for folder in _folders(root, mounts, "cpu") if (quota := _cpu_quota(folder)) is not None]
    rooms = [room for folder in _folders(root, mounts, "memory") if (room := _memory(folder)) is not None]
    limit, used = min(rooms, key=lambda room: room[0] - room[1], default=(None, 0))
    return GroupLimits(min(cpus, default=None), limit, used)


def _mounts(root: Path) -> Iterator[tuple[frozenset[str], str, str]]:
    """Yield for each hierarchy its controllers (version 2: none), the group it starts at, and where it is."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            yield frozenset(), fields[3], fields[4]
        elif kind[0] == "cgroup":
            yield frozenset(kind[2].split(",")), fields[3], fields[4]


def _folders(root: Path, mounts: list[tuple[frozenset[str], str, str]], controller: str) -> Iterator[Path]:
    """Yield the folder of the group of this process and those above it, in both versions."""
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
    """Return the group's path below the mount, which may begin inside the tree, as in a container."""
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
