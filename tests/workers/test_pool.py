"""What a pool promises while nothing goes wrong."""

import asyncio
import os
import time

import psutil
import pytest

from event_collector_workers import JobCancelled, PoolClosed, TaskError, TaskSpec, WorkerPool, WorkerStartError
from event_collector_workers.pool.worker_state import State
from tests.workers.pools import ACTOR, BOUND, Call, Ear, balanced, call, prove_alive, running, until


async def test_reply_reaches_its_job_with_the_time_spent_in_the_task():
    """A job gets the task's reply and the seconds that the task took, measured in the worker."""
    async with running() as pool:
        job = call(pool, "sleep 0.05")
        assert await job.result() == "None"
        assert 0.05 <= job.elapsed < 5.0
        assert job.outcomes == 1


async def test_jobs_start_in_the_order_of_submission(tmp_path):
    """One worker runs its jobs first in, first out."""
    log = tmp_path / "log"
    async with running(1) as pool:
        for number in range(300):
            call(pool, f"append {log} {number}")
        await pool.drain()
    assert log.read_text().split() == [str(number) for number in range(300)]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3_000_000])
async def test_large_values_travel_both_ways(size):
    """A blob of any size comes back as it went, and small jobs beside it are not harmed."""
    blob = os.urandom(size)
    async with running() as pool:
        beside = [call(pool, f"echo {number}") for number in range(20)]
        large = [call(pool, "echo", blob=blob) for _ in range(3)]
        for job in large:
            assert await job.result() == "echo"
            assert job.blob_back == blob
            assert isinstance(job.blob_back, bytes)
        assert [await job.result() for job in beside] == [str(number) for number in range(20)]


async def test_large_values_wait_for_no_other_traffic():
    """A large value that found no worker ready to receive it is sent when one is, though nothing else happens."""
    async with running() as pool:
        for _ in range(30):
            beside = [call(pool, f"echo {number}") for number in range(20)]
            large = [call(pool, "echo", blob=bytes(3_000_000)) for _ in range(3)]
            for job in beside + large:
                await job.result()


async def test_large_reply_without_a_blob_arrives():
    """A reply that the shared page cannot hold takes the socket."""
    async with running(1) as pool:
        for size in (10_000, 100_000, 1_000_000):
            assert len(await call(pool, f"large {size}").result()) == size
        await prove_alive(pool, 100)


async def test_worker_is_idle_again_with_its_large_result():
    """What is sent in answer to a reply that took the socket need not wait for a turn of the loop."""
    async with running(1) as pool:
        await call(pool, "echo").result()
        await until(lambda: pool.is_idle, "an idle worker")
        await call(pool, "large 200000").result()
        assert pool.is_idle
        assert pool.room > 0


async def test_room_shrinks_with_slow_large_results():
    """Where results that take the socket are slower than those before, fewer jobs are asked for at a time."""
    async with running(1) as pool:
        await prove_alive(pool)
        await until(lambda: pool.room > 100, "room for many quick jobs")
        for _ in range(10):
            await call(pool, "large 200000 0.02").result()
        assert pool.room <= 4


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("size", [20_000, 100_000, 1_000_000])
async def test_many_large_replies_make_room_for_the_next_jobs(size, workers):
    """Each reply that takes the socket lets the next jobs go out, and in the end there is room again."""
    async with running(workers) as pool:
        for _ in range(3):
            jobs = [call(pool, f"large {size}") for _ in range(40)]
            assert [len(await job.result()) for job in jobs] == [size] * 40
            await until(lambda: pool.room > 0, "room")


async def test_what_a_task_raises_fails_the_job_with_the_traceback():
    """An exception that leaves the task is a TaskError with the worker's traceback; the worker goes on."""
    async with running(1) as pool:
        pid = await call(pool, "pid").result()
        error = await call(pool, "misuse").error()
        assert isinstance(error, TaskError)
        assert "in misuse" in str(error)
        assert "KeyError: 'missing'" in str(error)
        assert await call(pool, "pid").result() == pid


async def test_no_result_waits_for_the_job_behind_it():
    """A result leaves its worker while the next job there still runs."""
    async with running(1) as pool:
        await prove_alive(pool, 50)
        first = call(pool, "echo first")
        second = call(pool, "echo second")
        long = call(pool, "sleep 1")
        begun = time.monotonic()
        assert await first.result() == "first"
        assert await second.result() == "second"
        assert time.monotonic() - begun < 0.9
        await long.result()


async def test_no_job_waits_behind_a_long_one(tmp_path):
    """What was handed to a worker that is held up goes to another one."""
    gate = tmp_path / "gate"
    async with running() as pool:
        await prove_alive(pool, 2000)  # short jobs: workers hold many at a time
        long = call(pool, f"wait_for {gate}")
        short = [call(pool, f"echo {number}") for number in range(500)]
        assert [await job.result() for job in short] == [str(number) for number in range(500)]
        assert not long.future.done()
        gate.touch()
        await long.result()


async def test_waiting_job_is_withdrawn_by_cancel(tmp_path):
    """A job that waits anywhere, in the pool or in a worker's hands, never runs once it is cancelled."""
    gate, log = tmp_path / "gate", tmp_path / "log"
    log.touch()
    async with running(1) as pool:
        await prove_alive(pool, 500)
        running_one = call(pool, f"wait_for {gate}")
        waiting = [call(pool, f"append {log} {number}") for number in range(300)]
        await asyncio.sleep(0)
        assert all(pool.cancel(job) for job in waiting[::2])
        gate.touch()
        await running_one.result()
        for job in waiting[::2]:
            assert isinstance(await job.error(), JobCancelled)
        assert [await job.result() for job in waiting[1::2]] == [str(n) for n in range(1, 300, 2)]
        assert balanced(pool)
    assert log.read_text().split() == [str(number) for number in range(1, 300, 2)]
    assert all(job.outcomes == 1 for job in waiting)


async def test_a_job_that_has_not_started_is_recalled(tmp_path):
    """It waits in the pool again and runs later; a job that has started or ended cannot be recalled."""
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    async with running(1) as pool:
        await prove_alive(pool, 500)
        ended = call(pool, "echo 1")
        await ended.result()
        append = call(pool, f"append {begun} 1")
        current, waiting = call(pool, f"wait_for {gate}"), call(pool, "echo 2")
        await append.result()
        await until(lambda: any(job is current for job, *_ in pool.running()), "the next job in the worker")
        assert pool.recall(waiting)
        assert not pool.recall(current)
        assert not pool.recall(ended)
        gate.touch()
        assert await waiting.result() == "2"
        assert balanced(pool)


async def test_cancel_of_an_ended_job_is_refused():
    """There is nothing to cancel in a job that has its outcome."""
    async with running(1) as pool:
        job = call(pool, "echo 1")
        await job.result()
        assert pool.cancel(job) is False


async def test_job_is_submitted_once_at_a_time():
    """Submitting a job that is in the pool is refused."""
    async with running(1) as pool:
        job = call(pool, "sleep 0.01")
        with pytest.raises(ValueError, match="in a pool already"):
            pool.submit(job)
        await job.result()


async def test_refused_jobs_can_be_submitted_again():
    """A refusal accepts none of the jobs: those before the refused one may be submitted again."""
    async with running(1) as pool:
        taken, first, second = call(pool, "sleep 0.01"), Call("echo 1"), Call("echo 2")
        for jobs in ([first, taken, second], [first, second, first]):
            with pytest.raises(ValueError, match="in a pool already"):
                pool.submit_all(jobs)
        assert pool.outstanding == 1
        pool.submit_all([first, second])
        assert [await job.result() for job in (first, second)] == ["1", "2"]
        await taken.result()


async def test_room_is_announced_when_it_comes_back():
    """A pool without room says so by `room`, and calls the listener when there is some again."""
    ear = Ear()
    async with running(1, listener=ear) as pool:
        await until(lambda: pool.room > 0)
        jobs = []
        while pool.room:
            jobs.append(call(pool, "sleep 0.01"))
        heard = len(ear.of("room"))
        assert pool.backlog <= len(jobs)
        for job in jobs:
            await job.result()
        await until(lambda: pool.room > 0)
        assert len(ear.of("room")) > heard


async def test_drain_waits_for_every_job():
    """After drain no job is without its outcome, and the pool takes more."""
    async with running() as pool:
        jobs = [call(pool, "sleep 0.01") for _ in range(20)]
        await pool.drain()
        assert all(job.outcomes == 1 for job in jobs)
        await prove_alive(pool, 10)


async def test_close_finishes_jobs_and_closes_tasks(tmp_path):
    """An orderly end: every job has its outcome, every task was closed, no process is left."""
    log = tmp_path / "log"
    async with running(2, argument=str(log).encode()) as pool:
        pids = {worker.pid for worker in pool.statistics().workers}
        jobs = [call(pool, "sleep 0.02") for _ in range(10)]
        await pool.close()
        assert all(job.outcomes == 1 for job in jobs)
        with pytest.raises(PoolClosed):
            call(pool, "echo late")
        await pool.close()
    assert {int(line.split()[1]) for line in log.read_text().splitlines()} == pids
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_close_kills_what_outlasts_its_timeout():
    """A job that does not end in time fails with PoolClosed, and its worker is gone."""
    async with running(1) as pool:
        job = call(pool, "sleep 60")
        waiting = call(pool, "echo 1")
        begun = time.monotonic()
        await pool.close(timeout=0.1)
        assert time.monotonic() - begun < 10
        assert isinstance(await job.error(), PoolClosed)
        assert isinstance(await waiting.error(), PoolClosed)
        assert job.outcomes == waiting.outcomes == 1


async def test_cancelled_close_aborts_and_reraises():
    """Cancelling close kills the workers first and is then passed on."""
    async with running(1) as pool:
        job = call(pool, "sleep 60")
        closing = asyncio.ensure_future(pool.close())
        await asyncio.sleep(0.01)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert isinstance(await job.error(), PoolClosed)
        assert not pool.statistics().workers


async def test_resize_under_load_loses_and_repeats_nothing(tmp_path):
    """Growing and shrinking while jobs flow leaves every job run exactly once."""
    log = tmp_path / "log"
    log.touch()
    async with running(2, max_workers=4) as pool:
        jobs = []
        for number in range(600):
            jobs.append(call(pool, f"append {log} {number} 0.0005"))
            if number % 100 == 0:
                pool.resize((1, 4, 2, 3, 1, 4)[number // 100])
                await asyncio.sleep(0.01)
                assert balanced(pool)
        await pool.drain()
        assert all(job.outcomes == 1 for job in jobs)
        await until(lambda: pool.statistics().ready == 4)
    assert sorted(map(int, log.read_text().split())) == list(range(600))


async def test_shrinking_waits_for_no_running_job(tmp_path):
    """A worker that is to go finishes the job it is in; what waits behind it goes to the others."""
    gate = tmp_path / "gate"
    async with running(2) as pool:
        long = [call(pool, f"wait_for {gate}"), call(pool, f"wait_for {gate}")]
        await until(lambda: pool.statistics().busy == 2)
        pool.resize(1)
        assert pool.statistics().target == 1
        gate.touch()
        for job in long:
            assert await job.result() == "there"
        await until(lambda: len(pool.statistics().workers) == 1)
        await prove_alive(pool, 50)


async def test_pool_of_none_starts_a_worker_on_demand():
    """A pool may start empty; the first job brings a worker."""
    async with running(0, max_workers=2) as pool:
        assert not pool.statistics().workers
        assert await call(pool, "echo 1").result() == "1"
        assert pool.statistics().target == 1


async def test_worker_is_replaced_after_its_share_of_jobs():
    """No worker runs more jobs than allowed, and all jobs finish."""
    async with running(2, max_jobs_per_worker=5) as pool:
        pids = [await job.result() for job in [call(pool, "pid") for _ in range(60)]]
    assert max(pids.count(pid) for pid in pids) <= 5


async def test_worker_is_replaced_at_its_age():
    """A worker that has served long enough is replaced without being asked for."""
    ear = Ear()
    async with running(1, max_worker_age=0.1, listener=ear) as pool:
        await until(lambda: len(ear.of("stopped")) >= 2)
        await prove_alive(pool, 50)
    assert {entry[2:] for entry in ear.of("stopped")} == {("stopped", 0)}


@pytest.mark.parametrize("workers", [0, 1])
async def test_worker_that_waits_for_its_successor_ends_when_none_is_wanted(workers):
    """A pool that closes or shrinks while a worker is being replaced does not wait for the successor."""
    async with running(2, max_worker_age=0.001) as pool:
        await until(lambda: pool.statistics().starting)
        if workers:
            pool.resize(workers)
            await until(lambda: len(pool.statistics().workers) <= 2 * workers)
            await prove_alive(pool, 10)
        await asyncio.wait_for(pool.close(), BOUND)
        assert not pool.statistics().workers


@pytest.mark.parametrize("by", ["close", "resize"])
async def test_worker_that_ends_while_it_opens_its_tasks_closes_them(tmp_path, by):
    """What a worker has begun to open when it is no longer wanted is opened, and closed, before it ends."""

    def lines(name):
        return (tmp_path / name).read_text().splitlines() if (tmp_path / name).exists() else []

    told = tmp_path / "go"
    told.touch()
    reference = "tests.workers.tasks:opens_when_told"
    async with running(1, reference=reference, argument=bytes(tmp_path), max_workers=2) as pool:
        told.unlink()
        pool.resize(2)
        await until(lambda: len(lines("opening")) == 2)
        ending = asyncio.create_task(pool.close()) if by == "close" else pool.resize(1)
        await until(lambda: not pool.statistics().starting)
        told.touch()
        if ending:
            await ending
        await until(lambda: len(lines("closed")) == (2 if ending else 1))
    assert sorted(lines("closed")) == sorted(f"closed {pid}" for pid in lines("opening"))


async def test_worker_that_has_nothing_open_yet_is_not_waited_for():
    """A worker that is no longer wanted before it opens its tasks opens none, and ends at once."""
    async with running(1, max_workers=2, stop_timeout=2 * BOUND) as pool:
        pool.resize(2)
        (starting,) = (worker for worker in pool._crew.workers if worker.pid is None)
        pool.resize(1)
        await until(lambda: starting.state is State.GONE)  # killed, or ended by itself
        await prove_alive(pool, 10)


async def test_worker_is_replaced_when_it_has_grown():
    """A worker above its memory limit is replaced after a job."""
    ear = Ear()
    async with running(1, max_worker_memory=1, listener=ear) as pool:
        while not ear.of("stopped"):
            await call(pool, "sleep 0.01").result()


async def test_idle_pool_uses_no_processor_time():
    """Nothing wakes up when nothing happens: neither here, nor in the workers, nor in what starts them."""
    async with running(2) as pool:
        await prove_alive(pool, 500)
        others = psutil.Process().children(recursive=True)
        assert len(others) >= 2
        await asyncio.sleep(0.2)
        before = activity(psutil.Process()), [activity(process) for process in others]
        await asyncio.sleep(1.0)
        after = activity(psutil.Process()), [activity(process) for process in others]
        assert after[0][1] - before[0][1] < 60
        for (cpu, switches), (cpu_before, switches_before) in zip(after[1], before[1], strict=True):
            assert cpu - cpu_before <= 0.02  # the system counts in hundredths
            assert switches - switches_before <= 2


def activity(process):
    times = process.cpu_times()
    return times.user + times.system, process.num_ctx_switches().voluntary


async def test_start_failure_tells_the_childs_traceback():
    """A task that cannot be opened fails the start with the reason from the worker, and leaves nothing."""
    pool = WorkerPool([TaskSpec("tests.workers.tasks:never_opens", b"orders")], max_workers=2)
    with pytest.raises(WorkerStartError, match="no such database: orders") as caught:
        await pool.start(2)
    assert "in never_opens" in str(caught.value)
    assert not pool.statistics().workers


@pytest.mark.parametrize("reference", ["no_such_module:x", "tests.workers.tasks:no_such_name"])
async def test_missing_task_fails_the_start(reference):
    """A reference that names nothing fails the start, naming what is missing."""
    pool = WorkerPool([TaskSpec(reference, b"")], max_workers=1)
    with pytest.raises(WorkerStartError, match="no_such"):
        await pool.start(1)


async def test_worker_that_dies_while_starting_fails_the_start():
    """The exit code of a worker that never came up is in the error."""
    pool = WorkerPool([TaskSpec("tests.workers.tasks:exits_at_start", b"7")], max_workers=1)
    with pytest.raises(WorkerStartError, match="exited with code 7"):
        await pool.start(1)


async def test_worker_that_hangs_while_starting_fails_the_start():
    """A start that takes longer than allowed is given up."""
    pool = WorkerPool([TaskSpec("tests.workers.tasks:hangs_at_start", b"")], max_workers=1, startup_timeout=0.5)
    with pytest.raises(WorkerStartError, match=r"not ready within 0\.5 s"):
        await pool.start(1)


async def test_cancelled_start_leaves_nothing():
    """Cancelling start kills what it had started."""
    pool = WorkerPool([TaskSpec("tests.workers.tasks:hangs_at_start", b"")], max_workers=2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.start(2), 0.3)
    assert not pool.statistics().workers


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
async def test_every_start_method_serves(start_method):
    """Jobs, crashes and resizing are the same however workers are started."""
    async with running(1, max_workers=2, start_method=start_method) as pool:
        await prove_alive(pool, 200)
        await call(pool, "exit 3").error()
        pool.resize(2)
        await until(lambda: pool.statistics().ready == 2)
        await prove_alive(pool, 200)


async def test_unknown_start_method_is_refused():
    """A start method that the platform does not have is refused when the pool is made."""
    with pytest.raises(ValueError, match="start_method"):
        WorkerPool([TaskSpec(ACTOR, b"")], max_workers=1, start_method="teleport")


async def test_statistics_describe_the_workers():
    """A snapshot names each process, its state, its load and its memory."""
    async with running(2) as pool:
        await call(pool, "spend 0.05").result()
        seen = pool.statistics(memory=True)
        assert (seen.target, seen.ready, seen.busy, seen.submitted, seen.finished) == (2, 2, 0, 1, 1)
        assert seen.cpu_seconds >= 0.03  # the system counts in hundredths
        assert all(worker.memory and worker.memory > 100_000 for worker in seen.workers)
        assert seen.startup_seconds > 0


@pytest.mark.parametrize(("least", "most"), [(-1, 1), (2, 1), (0, 0)])
def test_impossible_sizes_are_refused(least, most):
    """Sizes that contradict each other are refused when the pool is made."""
    with pytest.raises(ValueError, match="min_workers"):
        WorkerPool([TaskSpec(ACTOR, b"")], max_workers=most, min_workers=least)
