"""A worker as the pool sees it, without a process at the other end of its socket."""

import asyncio
import contextlib
import os
import socket
from time import monotonic
from typing import Any
from unittest.mock import Mock

from event_collector_workers.child.birth import Birth
from event_collector_workers.job import Job
from event_collector_workers.pool.worker import Worker
from event_collector_workers.pool.worker_state import State
from event_collector_workers.segments.shared_memory import SharedMemory
from event_collector_workers.transport.frames import Kind, message
from tests.workers import pools

MIB = 1024 * 1024


async def test_a_large_value_on_its_way_does_not_make_a_worker_look_held_up() -> None:
    """The age of what has not begun counts from the last progress; a worker that reads no more grows older.

    Else a value that takes long to send is taken back on its way, sent to another worker, and so on without end.
    """
    events: Any = Mock()
    worker = Worker(Birth(1, 0), asyncio.get_running_loop(), events, SharedMemory(0))
    worker.give([Job(0, b"", bytes(16 * MIB))])
    given = monotonic()
    assert worker.is_congested
    assert worker.running(given + 100.0)[1] >= 100.0
    read = 0
    while read < 8 * MIB:
        with contextlib.suppress(BlockingIOError):  # the loop has yet to write on
            read += len(worker._theirs.recv(MIB, socket.MSG_DONTWAIT))
        await asyncio.sleep(0)
    await pools.until(lambda: worker.running(given + 100.0)[1] < 100.0)
    sequence, age = worker.running(monotonic() + 100.0)
    assert sequence == 0
    assert age >= 100.0
    worker.dispose()
    worker._theirs.close()
    os.close(worker._page_fd)


async def test_a_worker_is_in_service_when_its_process_id_is_known() -> None:
    """It may say that it is ready before its launcher tells who it is: what is reported of it has its process id."""
    events: Any = Mock()
    worker = Worker(Birth(1, 0), asyncio.get_running_loop(), events, SharedMemory(0))
    worker._theirs.sendall(message(Kind.READY))
    await pools.until(lambda: worker.startup)
    assert worker.state is State.STARTING
    worker._on_launched(Mock(pid=4711))
    assert (worker.state, worker.pid) == (State.READY, 4711)
    events.on_ready.assert_called_once_with(worker)
    worker.dispose()
    worker._theirs.close()
    os.close(worker._page_fd)
