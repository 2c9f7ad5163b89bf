"""What a handler may do to its process, and whom it costs: its own event at most."""

import os
import signal
import struct
from pathlib import Path
from typing import Any

import psutil
import pytest

from event_collector import Payload
from event_collector_workers import WorkerCrashed
from tests.event_collector.modes import ask, error_of
from tests.faults.bystanders import Bystanders, surrounded
from tests.faults.handlers import RESULT

FOUR_GIB = 4 * 1024**3
SPAWN = pytest.param("spawn", marks=pytest.mark.slow)

DEEDS: dict[str, tuple[list[Any], Any]] = {
    # name: what the handler is told, what its event gets: a value, a class of errors, an exit code, or anything
    "exceeds RLIMIT_AS": (["exceed address space", 1024], MemoryError),
    "exceeds RLIMIT_CPU": (["burn processor", 30.0], -signal.SIGXCPU),
    "may start no process": (["limit", ["RLIMIT_NPROC", 0]], "RLIMIT_NPROC"),
    "changes all around it": (["change surroundings", None], "changed"),
    "lowers the recursion limit": (["lower recursion limit", None], "lowered"),
    "closes all files but the standard ones": (["close descriptors", 3], None),
    "closes all files": (["close descriptors", 0], None),
    "forks, and both return": (["fork and return", None], "parent"),
    "writes garbage": (["write to sockets", b"\xff" * 4096], ...),
    "writes three bytes": (["write to sockets", b"\x07\x00\x0d"], ...),
    "claims a head of 4 GiB": (["write to sockets", struct.pack("<IIq", RESULT, 0xFFFFFFFF, -1)], ...),
    "claims a value of 4 GiB and exits": (["claim and exit", FOUR_GIB], 4),
    "claims a value of 4 GiB": (["write to sockets", struct.pack("<IIq", RESULT, 0, FOUR_GIB)], ...),
    "claims a value of 1 EiB": (["write to sockets", struct.pack("<IIq", RESULT, 0, 1 << 60)], ...),
}


@pytest.mark.parametrize("start_method", ["forkserver", SPAWN])
@pytest.mark.parametrize("deed", DEEDS)
async def test_a_deed_costs_its_own_event_at_most(deed: str, start_method: str, tmp_path: Path) -> None:
    """Events before and behind it, in the same worker and in others, run once each and have their results."""
    value, expected = DEEDS[deed]
    async with surrounded(tmp_path, start_method=start_method) as queue:
        event = await queue.get_publisher().send(Payload(value))
        behind = Bystanders(queue, tmp_path / "behind")
        await behind.send(100)
        result = (await event.wait()).first()
        await behind.verify()
        if isinstance(expected, type):
            assert isinstance(result.err, expected)  # type: ignore[union-attr]
        elif isinstance(expected, int):
            assert isinstance(result.err, WorkerCrashed)  # type: ignore[union-attr]
            assert result.err.exitcode == expected  # type: ignore[union-attr]
        elif expected is not ...:
            assert result.unwrap() == expected


async def test_a_worker_that_may_open_no_file_still_answers(tmp_path: Path) -> None:
    """With RLIMIT_NOFILE used up every event has its result, an OSError where it needs a file."""
    async with surrounded(tmp_path, before=0, after=0, max_workers=1) as queue:
        assert (await ask(queue, ["limit", ["RLIMIT_NOFILE", 3]])).unwrap() == "RLIMIT_NOFILE"
        for _ in range(3):
            assert isinstance(await error_of(queue, ["note", [str(tmp_path / "file"), 1]]), OSError)
            assert len((await ask(queue, ["large", 1_000_000])).unwrap()) == 1_000_000


async def test_a_claimed_length_costs_no_memory(tmp_path: Path) -> None:
    """However much a worker says is to come, the program takes memory only for what has come."""
    async with surrounded(tmp_path) as queue:
        before = psutil.Process().memory_info().rss
        for _ in range(10):
            assert isinstance(await error_of(queue, ["claim and exit", FOUR_GIB]), WorkerCrashed)
        assert psutil.Process().memory_info().rss - before < 100 * 1024 * 1024


@pytest.mark.parametrize("start_method", ["forkserver", SPAWN])
@pytest.mark.parametrize("deed", ["fork and stay", "start program"])
async def test_a_process_that_the_handler_leaves_holds_nothing_up(deed: str, start_method: str, tmp_path: Path) -> None:
    """With its child still there, a worker's death is noticed, and the queue ends as usual."""
    async with surrounded(tmp_path, start_method=start_method, max_workers=1) as queue:
        child = (await ask(queue, [deed, None])).unwrap()
        try:
            assert isinstance(await error_of(queue, ["exit", 3]), WorkerCrashed)
            second = (await ask(queue, [deed, None])).unwrap()
            assert psutil.pid_exists(child)
        finally:
            os.kill(child, signal.SIGKILL)
    os.kill(second, signal.SIGKILL)


async def test_death_of_what_starts_workers_is_made_good(tmp_path: Path) -> None:
    """When the process that forks workers is killed, running events finish and new workers come from a new one."""
    async with surrounded(tmp_path) as queue:
        for _ in range(3):
            pid = (await ask(queue, ["pid", None])).unwrap()
            assert psutil.Process(pid).ppid() != os.getpid()
            await ask(queue, ["kill launcher", None])
            assert isinstance(await error_of(queue, ["exit", 3]), WorkerCrashed)


@pytest.mark.slow
async def test_a_thread_that_a_handler_leaves_delays_no_end(tmp_path: Path) -> None:
    """A worker that cannot end because a thread of a handler's goes on is killed at the end of the queue."""
    async with surrounded(tmp_path, consumer_shutdown_timeout=2.0) as queue:
        assert (await ask(queue, ["leave thread", None])).unwrap() == "left"
