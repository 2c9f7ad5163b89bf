"""What a pool promises when workers die, hang, or misbehave."""

import asyncio
import contextlib
import os
import pickle
import signal
import time
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from event_collector_workers import JobCancelled, JobTimeout, PoolBroken, TaskError, TaskSpec, WorkerCrashed, WorkerPool
from tests.workers.pools import ACTOR, BOUND, Ear, balanced, call, prove_alive, running, until
from tests.workers.simulated_processes import SimulatedPool


def pids_of(pool: WorkerPool) -> list[int]:
    return [worker.pid for worker in pool.statistics().workers if worker.pid]


@pytest.mark.parametrize(
    ("command", "exitcode"),
    [
        ("kill 9", -signal.SIGKILL),
        ("kill 1", -signal.SIGHUP),
        ("segfault", -signal.SIGSEGV),
        ("exit 0", 0),
        ("exit 99", 99),
        ("sys_exit 3", 3),
    ],
)
async def test_death_of_a_worker_fails_only_the_job_it_was_in(command, exitcode):
    """The running job is a WorkerCrashed with the exit code; all others are done, once."""
    async with running(2) as pool:
        await prove_alive(pool, 1000)  # short jobs: each worker holds many
        before = [call(pool, f"echo {number}") for number in range(100)]
        victim = call(pool, command)
        behind = [call(pool, f"echo {number}") for number in range(100)]
        error = await victim.error()
        assert isinstance(error, WorkerCrashed)
        assert isinstance(error, BrokenProcessPool)
        assert error.exitcode == exitcode
        assert error.pid not in pids_of(pool)
        for jobs in (before, behind):
            assert [await job.result() for job in jobs] == [str(number) for number in range(100)]
            assert all(job.outcomes == 1 for job in jobs)
        assert victim.outcomes == 1
        await prove_alive(pool)
        await until(lambda: pool.statistics().ready == 2)
        assert balanced(pool)


async def test_errors_survive_pickle():
    """A crash keeps its facts when it is sent on."""
    async with running(1) as pool:
        error = await call(pool, "exit 5").error()
        copy = pickle.loads(pickle.dumps(error))
        assert isinstance(copy, WorkerCrashed)
        assert (str(copy), copy.pid, copy.exitcode) == (str(error), error.pid, 5)


async def test_idle_worker_killed_is_replaced_without_harm():
    """The death of a worker that had nothing to do harms nothing, and is noticed at once."""
    ear = Ear()
    async with running(2, listener=ear) as pool:
        await prove_alive(pool, 100)
        victim = pids_of(pool)[0]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: ear.of("stopped"))
        assert ear.of("stopped") == [("stopped", victim, "crashed", -9)]
        await until(lambda: pool.statistics().ready == 2)
        await prove_alive(pool)
        assert pool.statistics().failed == 0


async def test_finished_results_survive_the_death_of_their_worker(tmp_path):
    """What had finished before the crash is a result, and is not run again."""
    log = tmp_path / "log"
    log.touch()
    async with running(1) as pool:
        await prove_alive(pool, 500)
        for round_number in range(20):
            jobs = [call(pool, f"append {log} {round_number}-{number}") for number in range(30)]
            crash = call(pool, "kill 9")
            for job in jobs:
                await job.result()
            assert isinstance(await crash.error(), WorkerCrashed)
            assert (await call(pool, "echo success").result()) == "success"
    lines = log.read_text().split()
    assert len(lines) == len(set(lines)) == 600


async def test_many_crashes_at_random_lose_and_repeat_nothing(tmp_path):
    """Workers killed from outside at any moment: each job runs at most once, and all are accounted for."""
    log = tmp_path / "log"
    log.touch()
    async with running(3) as pool:
        jobs = [call(pool, f"append {log} {number}") for number in range(4000)]
        for _ in range(50):
            seen = pool.statistics().finished
            await until(lambda: pool.statistics().finished > seen + 20)
            ready = [worker.pid for worker in pool.statistics().workers if worker.state == "ready"]
            for pid in ready[:1]:
                with contextlib.suppress(ProcessLookupError):  # killed before, and not yet missed
                    os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(pool.drain(), BOUND)
        assert all(job.outcomes == 1 for job in jobs)
        assert balanced(pool)
        done = {str(number) for number, job in enumerate(jobs) if not job.future.exception()}
        crashed = [job for job in jobs if job.future.exception()]
        assert len(crashed) <= 50
        assert all(isinstance(job.future.exception(), WorkerCrashed) for job in crashed)
        await prove_alive(pool)
    ran = log.read_text().split()
    assert len(ran) == len(set(ran))
    assert done <= set(ran)


async def test_timeout_ends_the_job_and_nobody_else():
    """A job over its time is a JobTimeout; the jobs behind it run elsewhere."""
    async with running(2) as pool:
        await prove_alive(pool, 1000)
        slow = call(pool, "sleep 60", timeout=0.2)
        others = [call(pool, f"echo {number}", timeout=20) for number in range(200)]
        error = await slow.error()
        assert isinstance(error, JobTimeout)
        assert isinstance(error, TimeoutError)
        assert error.timeout == 0.2
        assert 0.2 <= slow.elapsed < 10
        assert [await job.result() for job in others] == [str(number) for number in range(200)]
        await prove_alive(pool)


async def test_timeout_counts_from_the_start_of_the_job():
    """Time spent waiting for a worker is not time spent running."""
    async with running(1) as pool:
        jobs = [call(pool, "sleep 0.1", timeout=0.35) for _ in range(6)]
        for job in jobs:
            await job.result()


@pytest.mark.parametrize("command", ["burn 60", "hold 60", "stop"])
async def test_timeout_ends_what_does_not_listen(command):
    """A busy loop, native code that never lets go, and a stopped process are all ended."""
    async with running(1) as pool:
        assert isinstance(await call(pool, command, timeout=0.2).error(), JobTimeout)
        await prove_alive(pool, 100)


async def test_running_job_is_ended_by_cancel(tmp_path):
    """Cancelling a running job kills its worker; the jobs behind it run elsewhere."""
    gate = tmp_path / "gate"
    async with running(1) as pool:
        job = call(pool, f"wait_for {gate}")
        behind = [call(pool, f"echo {number}") for number in range(20)]
        await until(lambda: pool.statistics().workers[0].job_seconds > 0.01)
        assert pool.cancel(job)
        assert isinstance(await job.error(), JobCancelled)
        assert [await other.result() for other in behind] == [str(number) for number in range(20)]
        assert job.outcomes == 1


async def test_cancel_races_with_completion():
    """Cancelled at any moment, a job has exactly one outcome and every other job its result."""
    async with running(2) as pool:
        for round_number in range(50):
            jobs = [call(pool, "burn 0.0005") for _ in range(8)]
            await asyncio.sleep(0.0003 * (round_number % 8))
            for job in jobs[::2]:
                pool.cancel(job)
            await asyncio.wait_for(pool.drain(), BOUND)
            assert all(job.outcomes == 1 for job in jobs)
            for job in jobs[1::2]:
                assert await job.result() == "burnt"
        assert balanced(pool)


@pytest.mark.parametrize("kept", [0, 1, 40])
async def test_cancelling_what_was_behind_a_crash_leaves_room_for_more(kept):
    """Jobs that a crash has put back are cancelled before another worker has them: the pool takes new ones."""
    async with running(1) as pool:
        await prove_alive(pool, 1000)  # short jobs: the worker holds many
        slow = [call(pool, "burn 0.05") for _ in range(3)]  # after them it may hold few
        victim = call(pool, "exit 9")
        behind = [call(pool, f"echo {number}") for number in range(100)]
        assert isinstance(await victim.error(), WorkerCrashed)
        assert all(job.outcomes == 1 for job in slow)
        cancelled = [job for job in behind[kept:] if pool.cancel(job)]
        assert [await job.result() for job in behind[:kept]] == [str(number) for number in range(kept)]
        await until(lambda: pool.room > 0, "there is room")
        await prove_alive(pool, 100)
        assert cancelled
        assert all(job.outcomes == 1 for job in behind)
        assert balanced(pool)


async def test_closing_all_descriptors_harms_no_other_job():
    """A handler that closes every descriptor costs its worker, and nothing else."""
    async with running(2) as pool:
        await prove_alive(pool, 1000)
        vandal = call(pool, "close_descriptors")
        others = [call(pool, f"echo {number}") for number in range(200)]
        assert [await job.result() for job in others] == [str(number) for number in range(200)]
        assert await vandal.result() == "closed"
        await prove_alive(pool)


async def test_garbage_on_the_socket_costs_that_worker_only():
    """Bytes that are no message are never taken for one: the worker is replaced."""
    async with running(2) as pool:
        first = call(pool, "scribble")
        await asyncio.wait({first.future}, timeout=BOUND)
        await until(lambda: pool.statistics().restarts == 1)
        await prove_alive(pool)


async def test_lingering_grandchild_hides_no_death():
    """A child that the handler forked does not keep the pool from seeing the worker die."""
    async with running(1) as pool:
        grandchild = int(await call(pool, "fork").result())
        try:
            assert isinstance(await call(pool, "kill 9").error(), WorkerCrashed)
            await prove_alive(pool, 100)
        finally:
            os.kill(grandchild, signal.SIGKILL)


async def test_memory_error_is_an_error_of_the_job():
    """Running out of memory in the task fails the job, not the worker."""
    async with running(1) as pool:
        pid = await call(pool, "pid").result()
        error = await call(pool, "no_memory").error()
        assert isinstance(error, TaskError)
        assert "MemoryError" in str(error)
        assert await call(pool, "pid").result() == pid


IN_SEGMENTS_AND_SOCKETS = pytest.mark.parametrize("shared", [None, 0])


@IN_SEGMENTS_AND_SOCKETS
async def test_death_in_the_middle_of_a_large_result(shared: int | None):
    """A result that only half arrived is a crash; the pool neither hangs nor misreads what follows."""
    async with running(1, max_shared_memory=shared) as pool:
        for _ in range(5):
            job = call(pool, "echo", blob=os.urandom(32 * 1024 * 1024))
            await until(lambda: pool.statistics().workers[0].job_seconds > 0 or job.outcomes)
            os.kill(pids_of(pool)[0], signal.SIGKILL)
            error = None if job.outcomes and not job.future.exception() else await job.error()
            assert error is None or isinstance(error, WorkerCrashed)
        await prove_alive(pool)


@IN_SEGMENTS_AND_SOCKETS
async def test_death_while_a_large_job_is_being_sent(shared: int | None):
    """A worker killed while it receives costs the job nothing: it had not started."""
    async with running(1, max_shared_memory=shared) as pool:
        blob = os.urandom(32 * 1024 * 1024)
        os.kill(pids_of(pool)[0], signal.SIGSTOP)
        job = call(pool, "echo", blob=blob)
        await asyncio.sleep(0.02)
        os.kill(pids_of(pool)[0], signal.SIGKILL)
        assert await job.result() == "echo"
        assert job.blob_back == blob


async def longest_gap():
    """Return the longest time between two turns of the loop, in seconds, when cancelled."""
    longest, last = 0.0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
    except asyncio.CancelledError:
        return longest


async def test_death_while_a_large_job_is_being_sent_does_not_hold_up_the_loop():
    """From the sending on until the value is back from another worker, the loop turns at least every 0.1 s."""
    blob = os.urandom(32 * 1024 * 1024)
    gaps = []
    async with running(1) as pool:
        while len(gaps) < 5 and min(gaps, default=1.0) >= 0.1:  # a busy machine may hold it up itself
            watching = asyncio.ensure_future(longest_gap())
            os.kill(pids_of(pool)[0], signal.SIGSTOP)
            job = call(pool, "echo", blob=blob)
            await asyncio.sleep(0.02)
            os.kill(pids_of(pool)[0], signal.SIGKILL)
            assert await job.result() == "echo"
            watching.cancel()
            gaps.append(await watching)
    assert min(gaps) < 0.1, gaps


async def test_interrupt_from_the_terminal_is_left_to_the_parent():
    """SIGINT, which Ctrl-C sends to the whole group, disturbs no worker."""
    async with running(2) as pool:
        jobs = [call(pool, "sleep 0.1") for _ in range(2)]
        await until(lambda: pool.statistics().busy == 2)
        for pid in pids_of(pool):
            os.kill(pid, signal.SIGINT)
        for job in jobs:
            await job.result()
        assert pool.statistics().restarts == 0


async def test_a_thousand_crashes_open_the_breaker():
    """When every job kills its worker, the pool stops trying, says so, and recovers with good jobs."""
    ear = Ear()
    async with running(2, listener=ear) as pool:
        jobs = [call(pool, "exit 1") for _ in range(1000)]
        errors = [await job.error() for job in jobs]
        crashed = [error for error in errors if isinstance(error, WorkerCrashed)]
        refused = [error for error in errors if isinstance(error, PoolBroken)]
        assert len(crashed) + len(refused) == 1000
        assert len(crashed) < 100
        assert len(ear.of("started")) < 110
        assert "exited with code 1" in str(refused[0])
        assert 0 <= refused[0].retry_in <= 1.0
        await until(lambda: pool.statistics().ready)
        await prove_alive(pool)
        assert len(ear.of("opened")) == len(ear.of("closed")) == 1
        await until(lambda: pool.statistics().ready == 2)


async def test_workers_that_cannot_start_open_the_breaker(tmp_path):
    """Replacements that die at start are few, jobs fail with the reason, and the pool heals with its cause."""
    there = tmp_path / "database"
    there.touch()
    reference = "tests.workers.tasks:opens_if_present"
    async with running(1, reference=reference, argument=str(there).encode()) as pool:
        there.unlink()
        assert isinstance(await call(pool, "exit 1").error(), WorkerCrashed)
        error = await call(pool, "echo 1").error()
        assert isinstance(error, PoolBroken)
        assert "no such database" in str(error)
        assert pool.statistics().restarts < 10
        there.touch()
        await until(lambda: pool.statistics().ready)
        await prove_alive(pool)


async def test_nothing_is_left_behind():
    """Crashes, timeouts, resizes and large values leave no descriptor, no process and no thread."""
    us = psutil.Process()

    async def once() -> None:
        async with running(2) as pool:
            call(pool, "kill 9")
            call(pool, "sleep 60", timeout=0.05)
            call(pool, "echo", blob=bytes(1_000_000))
            pool.resize(1)
            await pool.drain()

    await once()  # what is loaded lazily stays
    descriptors, shared = us.num_fds(), set(os.listdir("/dev/shm"))
    for _ in range(3):
        await once()
    assert us.num_fds() <= descriptors
    new = set(os.listdir("/dev/shm")) - shared  # some may be of other programs, which take them away
    await until(lambda: not new & set(os.listdir("/dev/shm")))


async def test_stopped_worker_blocks_only_its_credit():
    """A worker that stops reading does not stall the loop, and its untouched jobs go elsewhere."""
    async with running(2) as pool:
        stopped = pids_of(pool)[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            jobs = [call(pool, f"echo {number}", blob=bytes(300_000)) for number in range(60)]
            worst = 0.0
            while not all(job.outcomes for job in jobs) and len([j for j in jobs if not j.outcomes]) > 8:
                begun = time.monotonic()
                await asyncio.sleep(0.001)
                worst = max(worst, time.monotonic() - begun)
            assert worst < 0.2
        finally:
            os.kill(stopped, signal.SIGCONT)
        for job in jobs:
            await job.result()


@pytest.mark.parametrize("share", [1, 2, None])
async def test_death_that_is_found_by_giving_costs_no_job(share):
    """A worker that turns out to be dead when it is handed jobs, perhaps the last of its share, loses none of them."""
    async with running(1, max_jobs_per_worker=share) as pool:
        for _ in range(3):
            await until(lambda: pool.statistics().ready == len(pids_of(pool)) == 1)  # the one before has gone
            (victim,) = pids_of(pool)
            os.kill(victim, signal.SIGKILL)
            while not is_dead(victim):  # and the loop has no turn in which it could notice
                time.sleep(0.001)
            jobs = [call(pool, f"echo {number}") for number in range(3)]
            assert [await job.result() for job in jobs] == ["0", "1", "2"]
            assert all(job.outcomes == 1 for job in jobs)
        assert balanced(pool)


def is_dead(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_cancelled_job_that_its_worker_skips_does_not_run_elsewhere():
    """A worker claims a job before it sees that the job is taken back: it is killed then, and may have skipped it."""
    pool = SimulatedPool([TaskSpec(ACTOR, b"")], max_workers=1)
    starting = asyncio.ensure_future(pool.start(1))
    await until(lambda: pool.processes)
    (process,) = pool.processes
    process.open()
    await starting
    job = call(pool, "sleep 60")
    await until(lambda: pool.statistics().busy)
    process.proceed()
    assert pool.cancel(job)
    assert process.is_killed
    process.skip()
    process.exit(-signal.SIGKILL)
    assert isinstance(await job.error(), JobCancelled)
    assert job.outcomes == 1
    assert pool.outstanding == 0
    ending = asyncio.ensure_future(pool.abort())
    while not ending.done():
        for process in pool.processes:
            if process.is_killed:
                process.exit(-signal.SIGKILL)
        await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["timeout", "cancel", "mixed"])
async def test_what_the_pool_kills_has_not_crashed(how):
    """Timeouts and cancellations in any number are no crashes: for the breaker, the counts, and the listener."""
    ear = Ear()
    async with running(2, listener=ear) as pool:
        for number in range(40):
            if how == "timeout" or (how == "mixed" and number % 2):
                error = await call(pool, "sleep 60", timeout=0.01).error()
                assert isinstance(error, JobTimeout)
            else:
                job = call(pool, "sleep 60")
                await until(lambda: pool.statistics().busy > 0)
                assert pool.cancel(job)
                error = await job.error()
                assert isinstance(error, JobCancelled), (error, job._place, pool, ear.heard[-9:])
        await prove_alive(pool)
        figures = pool.statistics()
        assert (figures.crashed, figures.restarts, figures.failed) == (0, 0, 40)
        assert balanced(pool)
    assert {reason for _, _, reason, _ in ear.of("stopped")} == {"stopped"}
    assert not ear.of("opened")


@pytest.mark.parametrize("how", ["retired", "recycled", "closed", "stopped late", "aborted"])
async def test_workers_that_end_as_they_should_have_not_crashed(how):
    """Recycling, resizing and every kind of shutdown are no crashes, and no task failed to close."""
    ear = Ear()
    options = {"max_jobs_per_worker": 3} if how == "recycled" else {"stop_timeout": 0.01}
    async with running(2, listener=ear, **options) as pool:
        await prove_alive(pool, 20)
        last = call(pool, "sleep 60" if how == "aborted" else "echo 1")
        if how == "retired":
            pool.resize(1)
        if how == "aborted":
            await until(lambda: pool.statistics().busy > 0)
            await pool.abort()
        else:
            await last.result()
        assert (pool.statistics().crashed, pool.statistics().restarts) == (0, 0)
    assert {reason for _, _, reason, _ in ear.of("stopped")} == {"stopped"}
    assert not ear.of("complained")


async def test_a_crash_of_a_worker_that_is_leaving_is_a_crash():
    """A worker that runs its last job, or waits for its successor, may crash like any other."""
    ear = Ear()
    async with running(1, listener=ear, max_jobs_per_worker=1) as pool:
        for number in range(1, 4):
            assert isinstance(await call(pool, "kill 9").error(), WorkerCrashed)
            await until(lambda number=number: pool.statistics().restarts == number)
        assert pool.statistics().crashed == 3
    assert [reason for _, _, reason, _ in ear.of("stopped")][:3] == ["crashed"] * 3


class RaisingEar(Ear):
    """Raises whatever it hears."""

    def __getattribute__(self, name):
        if name in ("room", "answers", "worker_started", "worker_stopped", "breaker_opened", "breaker_closed"):
            return self.fail
        return super().__getattribute__(name)

    def fail(self, *_):
        self.heard.append(("failed",))
        raise OSError("the log cannot be written")


async def test_a_listener_that_raises_costs_nothing():
    """The pool reports what its listener raises to the event loop, and goes on: answers, crashes, timeouts, the end."""
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    ear = RaisingEar()
    async with running(2, listener=ear) as pool:
        await prove_alive(pool, 200)
        assert isinstance(await call(pool, "kill 9").error(), WorkerCrashed)
        assert isinstance(await call(pool, "sleep 60", timeout=0.01).error(), JobTimeout)
        await prove_alive(pool, 200)
        assert balanced(pool)
    asyncio.get_running_loop().set_exception_handler(None)
    assert len(reported) == len(ear.heard) > 5
