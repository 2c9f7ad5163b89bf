"""The repr of each long-lived object shows its state in one line."""

import asyncio
import os
import socket
from typing import Any
from unittest.mock import Mock

from event_collector_workers import Job, ScaledProcessPoolExecutor, TaskSpec, WorkerPool
from event_collector_workers.autoscaler.guard import SaturationGuard
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMaximum
from event_collector_workers.child.birth import Birth
from event_collector_workers.child.inbox import Inbox
from event_collector_workers.child.workplace import Workplace
from event_collector_workers.environment import WorkerEnvironment
from event_collector_workers.launch.preload import Preload
from event_collector_workers.launch.zygote import Zygote
from event_collector_workers.pool.breaker import Breaker
from event_collector_workers.pool.timer import EarliestTimer
from event_collector_workers.pool.worker import Worker
from event_collector_workers.segments.shared_memory import SharedMemory
from event_collector_workers.transport.page import ParentPage, WorkerPage, create_page_file
from tests.workers import pools


async def test_a_pool_shows_its_crew_its_traffic_and_its_workers() -> None:
    """From "not started" to "closed", with the figures of its parts."""
    pool = WorkerPool([TaskSpec(pools.ACTOR, b"")], max_workers=2)
    assert repr(pool) == "<WorkerPool not started>"
    await pool.start(2)
    jobs = [pools.call(pool, "sleep 30") for _ in range(3)]
    await pools.until(lambda: "busy" in repr(pool) or "outstanding=3" in repr(pool))
    text = repr(pool)
    assert text.startswith("<WorkerPool running <Crew target=2 ready=2 restarts=0 <Breaker closed strikes=0")
    assert "<Traffic backlog=" in text
    assert "<Roster attached=2 ready=2 idle=" in text
    assert "\n" not in text
    worker = pool._crew.workers[0]
    assert repr(worker).startswith(f"<Worker 0 pid={worker.pid} ready in_hand=")
    assert repr(worker._channel).startswith("<Channel open fd=")
    assert repr(worker.page).startswith("<ParentPage started=")
    assert repr(worker._handle) == f"<ZygoteHandle pid={worker.pid} alive>"
    assert repr(pool._launcher).startswith("<ZygoteLauncher zygote=")
    assert repr(pool._launcher).endswith("requests=0 workers=2>")
    await pool.abort()
    assert repr(pool).startswith("<WorkerPool closed <Crew target=0 empty ")
    assert repr(worker) == f"<Worker 0 pid={worker.pid} gone leaving in_hand=0>"
    assert repr(worker.page) == "<ParentPage closed>"
    assert repr(worker._channel).startswith("<Channel lost fd=")
    assert repr(pool._launcher) == "<ZygoteLauncher no zygote requests=0 workers=0>"
    assert [await job.error() for job in jobs]


async def test_the_launcher_of_multiprocessing_shows_its_start_method() -> None:
    """And the handle its process id."""
    async with pools.running(1, start_method="fork") as pool:
        (worker,) = pool._crew.workers
        assert repr(pool._launcher) == "<MultiprocessingLauncher fork>"
        assert repr(worker._handle) == f"<MultiprocessingHandle pid={worker.pid}>"


def test_an_executor_shows_its_limit_and_its_thread() -> None:
    """Idle before the first call, shut down at the end."""
    with ScaledProcessPoolExecutor(2) as executor:
        assert repr(executor) == "<ScaledProcessPoolExecutor max_workers=2 idle>"
        assert executor.submit(abs, -1).result() == 1
        assert " <PoolThread running limit=2 incoming=0 <WorkerPool running " in repr(executor)
    assert repr(executor) == "<ScaledProcessPoolExecutor max_workers=2 shut down>"


async def test_a_worker_that_leaves_says_so() -> None:
    """A worker without a process has no pid."""
    events: Any = Mock()
    worker = Worker(Birth(3, 0), asyncio.get_running_loop(), events, SharedMemory(0))
    worker.give([Job(0, b"")])
    worker.leave()
    assert repr(worker) == "<Worker 3 pid=None starting leaving in_hand=1>"
    worker.dispose()
    worker._theirs.close()
    os.close(worker._page_fd)


def test_the_side_of_the_worker_shows_its_tasks_and_its_page() -> None:
    """Also the results that were not announced, and the promise of a visit."""
    fd = create_page_file()
    ours, theirs = socket.socketpair()
    parent, page = ParentPage(fd), WorkerPage(fd)
    os.close(fd)
    parent.arrive()
    parent.promise()
    page.begin(5, 0)
    page.write(b"abc")
    assert repr(page) == "<WorkerPage started=5 unread=3 visits=1 promised>"
    assert repr(parent) == "<ParentPage started=5 unread=3 visits=1 promised>"
    inbox = Inbox(theirs)
    assert repr(inbox) == "<Inbox unread=0 brisk=False>"
    assert repr(Workplace(theirs, inbox, page)) == f"<Workplace pid={os.getpid()} tasks=0 unannounced=False>"
    preload = Preload({}, ["json"], None, WorkerEnvironment(), ["json"])
    assert repr(preload) == "<Preload steps=['__main__', 'the initializer', 'json'] left=['json']>"
    assert repr(Zygote(theirs, preload)) == f"<Zygote pid={os.getpid()} workers=0>"
    for closed in (parent, page, ours, theirs):
        closed.close()


async def test_small_parts_show_their_state() -> None:
    """Timer, breaker, rolling maximum and guard."""
    timer = EarliestTimer(asyncio.get_running_loop(), lambda _late: None)
    assert repr(timer) == "<EarliestTimer disarmed>"
    timer.arm(3600.0)
    assert repr(timer).startswith("<EarliestTimer due in 3")
    timer.disarm()
    breaker = Breaker()
    for _ in range(32):
        breaker.crashed(0.0)
    assert repr(breaker) == "<Breaker open strikes=32 pause=2 s>"
    maximum = RollingMaximum(2.0)
    maximum.record(0.0, 5.0)
    assert repr(maximum) == "<RollingMaximum 5 over 2 s>"
    assert repr(SaturationGuard(Tuning())) == "<SaturationGuard cap=None suspicion=0>"
