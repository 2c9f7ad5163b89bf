"""Process ids are given again: what has ended is not mistaken for a later process that has its id."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from event_collector_workers.launch.multiprocessing_launcher import MultiprocessingHandle
from event_collector_workers.launch.zygote_launcher import ZygoteHandle

LAST_ID = Path("/proc/sys/kernel/ns_last_pid")
"""Linux gives the id after this one to the next process."""


def handle_of_a_fork(loop: asyncio.AbstractEventLoop) -> ZygoteHandle:
    """A worker that has ended, as the zygote's parent knows it before the zygote has told."""
    process = subprocess.Popen(["sleep", "60"])
    handle = ZygoteHandle(process.pid, loop, lambda: None)
    process.kill()
    process.wait()
    return handle


def handle_of_a_spawn(loop: asyncio.AbstractEventLoop) -> MultiprocessingHandle:
    """A worker whose end the program has taken, so that its exit code is not known here."""
    process: Any = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    handle = MultiprocessingHandle(process, loop)
    os.kill(process.pid, 9)
    os.waitpid(process.pid, 0)
    return handle


def process_with_id(pid: int) -> "subprocess.Popen[bytes]":
    """Start a process that gets this id, as leader of its group."""
    for _ in range(20):  # other programs start processes meanwhile
        try:
            LAST_ID.write_text(str(pid - 1))
        except OSError as error:
            pytest.skip(f"ids cannot be chosen here: {error}")
        process = subprocess.Popen(["sleep", "60"], process_group=0)
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    pytest.skip("others are always faster")


@pytest.mark.skipif(sys.platform != "linux", reason="ids can be chosen on Linux only")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it is multi-threaded, and forks
@pytest.mark.parametrize("make", [handle_of_a_fork, handle_of_a_spawn])
def test_a_later_process_with_the_id_is_not_killed(
    make: Callable[[asyncio.AbstractEventLoop], ZygoteHandle | MultiprocessingHandle],
) -> None:
    """Neither it, nor its group."""
    loop = asyncio.new_event_loop()
    handle = make(loop)
    time.sleep(0.03)  # the kernel knows the begin of a process to 10 ms
    foreign = process_with_id(handle.pid)
    try:
        handle.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            foreign.wait(0.1)
    finally:
        foreign.kill()
        foreign.wait()
        loop.close()
