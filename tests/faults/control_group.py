"""A control group of a test's own, where this machine lets us make one: limits that the kernel itself enforces."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def control_group(controller: str, version_1: dict[str, str], version_2: dict[str, str]) -> Iterator[Path]:
    """Make a group with these limits, by file name, and skip the test where that is not allowed."""
    parent, limits = _ROOT / controller, version_1
    if (_ROOT / "cgroup.controllers").exists():
        parent, limits = _ROOT, version_2
    group = parent / f"event-collector-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            for name, value in limits.items():
                (group / name).write_text(value)
        except OSError as error:
            pytest.skip(f"no limit of {controller} can be set here: {error}")
        yield group
    finally:
        _remove(group)


def enter(group: Path, pid: int) -> None:
    """Put a process into the group; what it has already stays counted where it was."""
    (group / "cgroup.procs").write_text(str(pid))


def _remove(group: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (group.parent / "cgroup.procs").write_text(pid)
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.01)
        else:
            return
