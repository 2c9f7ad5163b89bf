"""`event-collector stack`: where a running program and its workers are, also while its event loop is blocked."""

import asyncio
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from event_collector import Collector, CollectorQueue, Delivery, Payload
from event_collector.command.program import run_command
from event_collector.watching.socket_file import LONGEST
from event_collector.watching.stack_socket import SUFFIX

from .sample_targets import wait_in_worker

pytestmark = pytest.mark.anyio


async def block(path: str) -> tuple[int, str]:
    """Ask for the stacks while this handler blocks the event loop."""
    return ask(path)


def ask(path: str, *pid: str) -> tuple[int, str]:
    """Run the command in another process, and return its exit status and what it wrote."""
    words = [sys.executable, "-m", "event_collector", "stack", path, *pid]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


@asynccontextmanager
async def busy_worker(path: Path) -> AsyncIterator[tuple[CollectorQueue, int]]:
    """Run a queue whose worker is in a handler; the context is the queue and the process id."""
    collectors = [Collector("wait", wait_in_worker, topics=["w"]), Collector("block", block, topics=["b"])]
    async with CollectorQueue(collectors, max_workers=1, monitor=path, logging=False) as queue:
        event = await queue.get_publisher().send(Payload(0, keys=["wait"], delivery=Delivery.KEY))
        while not queue.snapshot().workers or queue.snapshot().workers[0].job_seconds is None:
            await asyncio.sleep(0.01)
        yield queue, queue.snapshot().workers[0].pid or 0
        event.cancel()


async def test_a_blocked_program_shows_its_loop_and_its_workers(tmp_path: Path) -> None:
    """The handler that blocks the loop, and the one that a worker is in."""
    path = tmp_path / "s"
    async with busy_worker(path) as (queue, pid):
        event = await queue.get_publisher().send(Payload(str(path), keys=["block"], delivery=Delivery.KEY))
        status, text = (await event.wait()).first().unwrap()
        assert status == 0
        loop, *others = text.split("\n\n")
        assert loop.startswith(f"pid {os.getpid()}, event loop, thread")
        assert "in block" in loop
        assert "in wait_in_worker" in others[-1]
        assert others[-1].startswith(f"pid {pid}, worker 0\n")


async def test_one_process_can_be_asked_for(tmp_path: Path) -> None:
    """A worker, the program, and one that does not belong to it."""
    path = tmp_path / "s"
    async with busy_worker(path) as (_, pid):
        status, text = await asyncio.to_thread(ask, str(path), str(pid))
        assert (status, text.count("pid "), "in wait_in_worker" in text) == (0, 1, True)
        status, text = await asyncio.to_thread(ask, str(path), str(os.getpid()))
        assert (status, "in wait_in_worker" in text) == (0, False)
        status, text = await asyncio.to_thread(ask, str(path), "1")
        assert (status, text) == (1, "event-collector stack: the program has no worker process with the pid 1\n")


async def test_only_the_user_of_the_program_may_ask(tmp_path: Path) -> None:
    """The second socket has mode 0600, and is there as long as the first one. Its thread ends with it."""
    path = tmp_path / "s"
    async with CollectorQueue([Collector("block", block)], monitor=path, logging=False):
        assert stat.S_IMODE(Path(f"{path}{SUFFIX}").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == []
    deadline = time.monotonic() + 30
    while any(thread.name == "event stacks" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_garbage_harms_nothing(tmp_path: Path) -> None:
    """A client that sends no number, or leaves, gets no answer; the next one does."""
    path = tmp_path / "s"
    async with CollectorQueue([Collector("block", block)], monitor=path, logging=False):
        for garbage in (b"stop\n", b"\xff" * 100, b""):
            reader, writer = await asyncio.open_unix_connection(f"{path}{SUFFIX}")
            writer.write(garbage)
            if not garbage:
                writer.close()
                continue
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(reader.readuntil(b"]\n"), 30)
            writer.close()
        status, text = await asyncio.to_thread(ask, str(path))
        assert (status, "event loop" in text) == (0, True)


async def test_a_path_that_is_too_long_for_it_only_lacks_the_stacks(tmp_path: Path) -> None:
    """The monitor socket is made all the same."""
    path = tmp_path / ("s" * (LONGEST - len(os.fsencode(tmp_path)) - 1))
    async with CollectorQueue([Collector("block", block)], monitor=path, logging=False):
        assert os.listdir(tmp_path) == [path.name]


def test_a_program_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line says so."""
    assert run_command(["stack", str(tmp_path / "s")]) == 1
    assert "there is no socket" in capsys.readouterr().err
