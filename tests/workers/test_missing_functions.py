"""Functions that a build of Python, a platform or a sandbox may lack: a queue runs without each of them.

Portable builds of Python lack `os.memfd_create` and `os.pidfd_open`, whatever the kernel has. A module that every
process of the program imports at its start removes the function, or lets it fail as a sandbox does.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.test_programs import PATHS

MISSING = {
    "os": [
        "eventfd", "getloadavg", "killpg", "memfd_create", "MFD_CLOEXEC", "O_ASYNC", "pidfd_open", "posix_spawn",
        "process_cpu_count", "sched_getaffinity", "sched_setaffinity", "sched_yield", "setpgid", "waitid",
    ],
    "signal": ["pthread_sigmask", "siginterrupt", "SIGTTIN", "valid_signals"],
    "select": ["epoll", "poll"],
    "fcntl": ["F_SETOWN", "F_SETSIG"],
    "time": ["clock_gettime"],
    "socket": ["SO_PEERCRED"],
}  # fmt: skip
EACH = [(owner, name) for owner, names in MISSING.items() for name in names]
NOTED = ["eventfd", "memfd_create", "pidfd_open", "sched_yield", "pthread_sigmask", "poll", "F_SETSIG"]
REFUSED = ["memfd_create", "pidfd_open", "setpgid", "sched_getaffinity"]
PROGRAM = """
import asyncio
import sys
import {owner} as owner
from pathlib import Path

from event_collector import Collector, CollectorQueue, Payload
from event_collector_workers import WorkerCrashed
from tests.event_collector.sample_handlers import act


async def main(start_method, socket):
    collector = Collector("act", act, timeout=5)
    options = {{"monitor": str(socket), "logging": False}}
    async with CollectorQueue([collector], min_workers=1, max_workers=1, start_method=start_method, **options) as queue:
        publisher = queue.get_publisher()
        events = [await publisher.send(Payload(["echo", number])) for number in range(100)]
        crash = await publisher.send(Payload(["kill", 9]))
        events += [await publisher.send(Payload(["echo", number])) for number in range(100, 200)]
        assert [(await event.wait()).first().unwrap() for event in events] == list(range(200))
        assert isinstance((await crash.wait()).first().err, WorkerCrashed)
        queue.snapshot()


if __name__ == "__main__":
    assert {is_refused} or not hasattr(owner, {name!r})
    for start_method in ("forkserver", "spawn", "fork"):
        asyncio.run(main(start_method, Path(__file__).with_name("socket")))
        print(start_method, flush=True)
"""


def run_without(tmp_path: Path, remove: str, owner: str, name: str, *, is_refused: bool) -> None:
    """Run a queue with each start method in a program in which every process has executed `remove` first."""
    (tmp_path / "sitecustomize.py").write_text(remove)
    (tmp_path / "program.py").write_text(PROGRAM.format(owner=owner, name=name, is_refused=is_refused))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *PATHS])}
    result = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        capture_output=True, text=True, timeout=120, check=False, env=environment,
    )  # fmt: skip
    assert (result.stdout.split(), result.stderr) == (["forkserver", "spawn", "fork"], "")


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, name in EACH if name in NOTED])
def test_a_queue_runs_without(owner: str, name: str, tmp_path: Path) -> None:
    """Events have their results, a dead worker is replaced, and the queue ends, with every start method."""
    remove = f"import {owner}\nif hasattr({owner}, {name!r}): del {owner}.{name}\n"
    run_without(tmp_path, remove, owner, name, is_refused=False)


@pytest.mark.parametrize("name", REFUSED)
def test_a_queue_runs_where_a_sandbox_refuses(name: str, tmp_path: Path) -> None:
    """The function is there and always fails, as with a filter of system calls."""
    remove = f"""
import os
def refuse(*arguments, **options): raise PermissionError(1, "Operation not permitted")
if hasattr(os, {name!r}): os.{name} = refuse
"""
    run_without(tmp_path, remove, "os", name, is_refused=True)


def test_a_queue_runs_without_any_of_them(tmp_path: Path) -> None:
    """No fallback needs another function that may be missing."""
    remove = "".join(f"import {owner}\nif hasattr({owner}, {name!r}): del {owner}.{name}\n" for owner, name in EACH)
    run_without(tmp_path, remove, "os", "memfd_create", is_refused=False)
