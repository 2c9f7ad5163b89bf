"""Large values in shared memory: they arrive unchanged, stay unchanged while anything refers to them, leave nothing."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from event_collector_workers import TaskSpec, WorkerPool
from event_collector_workers.limits import WorkerLimits, apply
from event_collector_workers.pool_errors import WorkerCrashed
from event_collector_workers.statistics import SharedMemoryStatistics
from tests.workers.pools import BOUND, call, until
from tests.workers.value_tasks import digest

MIB = 1024 * 1024
VALUES = "tests.workers.value_tasks:Values"


ways: list[str] = []


@pytest.fixture(autouse=True, params=["filled", "copied"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Values are copied into segments of their worker, or were copied into memory for all workers before."""
    ways.append(request.param)
    yield
    ways.clear()


def on_its_way(pool: WorkerPool, blob: Any) -> Any:
    is_copied = isinstance(blob, memoryview) and ways == ["copied"]
    return pool.copy([blob]) if is_copied else blob


def value(letter: str, size: int = MIB) -> memoryview:
    return memoryview(letter.encode() * size)


def seen(letter: str, size: int = MIB) -> str:
    return digest(value(letter, size))


@contextlib.asynccontextmanager
async def sharing(workers: int = 1, **options: Any) -> AsyncIterator[WorkerPool]:
    options.setdefault("max_shared_memory", 256 * MIB)
    pool = WorkerPool([TaskSpec(VALUES, b"")], max_workers=workers, **options)
    await pool.start(workers)
    try:
        yield pool
        await asyncio.wait_for(pool.close(), BOUND)
    finally:
        await pool.abort()


def shared(pool: WorkerPool) -> SharedMemoryStatistics:
    return pool.statistics().shared_memory


async def ask(pool: WorkerPool, command: str, blob: Any = None) -> str:
    return await call(pool, command, blob=on_its_way(pool, blob)).result()


async def given(pool: WorkerPool, command: str, blob: Any = None) -> Any:
    job = call(pool, command, blob=on_its_way(pool, blob))
    await job.result()
    return job.blob_back


@pytest.mark.parametrize("limit", [256 * MIB, 0])
@pytest.mark.parametrize("size", [100_000, MIB, 9 * MIB + 1])
async def test_values_arrive_as_they_were_sent(limit: int, size: int) -> None:
    """Bytes arrive as bytes. Other buffers are read-only in the worker, and writable views in the program."""
    async with sharing(max_shared_memory=limit) as pool:
        data = os.urandom(size)
        for sent in (data, memoryview(data), bytearray(data), [data[:1000], memoryview(data)[1000:]]):
            for _ in range(3):  # the first result of a size goes through the socket
                back = await given(pool, "give", sent)
                assert back == data[10:]
                assert not back.readonly
            kind = "memoryview" if sent is not data and limit and size > 256 * 1024 else "bytes"
            assert await ask(pool, "kind", sent) == f"{kind},True"
        assert isinstance(await given(pool, f"make_bytes {size} x", b""), bytes)
        assert bool(shared(pool).segments) is bool(limit and size > 256 * 1024)


async def test_a_view_that_a_handler_keeps_stays_as_it_is() -> None:
    """What a handler keeps in a global, in a thread, or in a cycle with a finalizer, keeps its memory."""
    letters = "abcdefgh"
    async with sharing() as pool:
        for number, letter in enumerate(letters, 1):
            sizes = [seen(each, MIB)[: -len(str(MIB))] + str(MIB - 1) for each in letters[:number]]
            assert await ask(pool, "keep", value(letter)) == ",".join(sizes)


async def test_a_view_in_a_thread_stays_as_it_is() -> None:
    """The memory of a value is not used again while a thread that the handler has started looks at it."""
    async with sharing() as pool:
        for letter in "abc":
            assert await ask(pool, "keep_in_thread", value(letter)) == seen(letter)
        for letter in "defdefdef":
            assert await ask(pool, "look", value(letter)) == seen(letter)
        assert sorted((await ask(pool, "release_threads", b"")).split(",")) == [seen(letter) for letter in "abc"]
        assert await ask(pool, "look", value("x")) == seen("x")
        await until(lambda: not shared(pool).in_use)


async def test_a_view_in_a_cycle_stays_as_it_is_for_its_finalizer() -> None:
    """A finalizer that looks at a view, in a cycle that is collected later, sees what the handler saw."""
    async with sharing() as pool:
        assert await ask(pool, "keep_in_cycle", value("a")) == seen("a")
        for letter in "bcbcbc":
            assert await ask(pool, "look", value(letter)) == seen(letter)
        assert await ask(pool, "collect", b"") == seen("a")
        await until(lambda: not shared(pool).in_use)


async def test_cycles_of_a_handler_do_not_pile_up() -> None:
    """Values in cycles that nobody collects hold little memory: many of them make the worker collect garbage."""
    async with sharing() as pool:
        for letter in "abcdefghijklmnopqrstuvwxyz":
            assert await ask(pool, "keep_in_cycle", value(letter)) == seen(letter)
        assert shared(pool).size <= 12 * MIB


async def test_results_that_the_program_keeps_stay_as_they_are() -> None:
    """A result, a slice of it, and one in a cycle keep their memory; then the memory is used again."""
    async with sharing() as pool:
        results = [await given(pool, f"make {MIB} {letter}", b"") for letter in "abcdefgh"]
        assert [digest(each) for each in results] == [seen(letter) for letter in "abcdefgh"]
        results = [each[5:] for each in results]
        cycle: list[Any] = [results.pop()]
        cycle.append(cycle)
        before = shared(pool)
        assert before.in_use >= 6 * MIB
        others = [await given(pool, f"make {MIB} {letter}", b"") for letter in "xyz"]
        assert [each[0] for each in results] == [*b"abcdefg"]
        assert cycle[0][0] == ord("h")
        del results, others, cycle
        gc.collect()
        for letter in "abcdefgh" * 4:
            assert digest(await given(pool, f"make {MIB} {letter}", b"")) == seen(letter)
        assert shared(pool).size <= before.size + 3 * MIB


async def test_a_result_may_be_a_view_of_the_payload() -> None:
    """It has memory of its own: neither the worker nor the next event changes it."""
    async with sharing() as pool:
        results = [await given(pool, "give", value(letter)) for letter in "abcdef"]
        assert [digest(each) for each in results] == [seen(letter, MIB - 10) for letter in "abcdef"]


async def test_memory_is_bounded_and_what_does_not_fit_goes_through_the_socket() -> None:
    """Values arrive whatever the bound is, and the memory stays below it."""
    async with sharing(2, max_shared_memory=5 * MIB) as pool:
        results = [await given(pool, f"make {MIB} {letter}", value("x")) for letter in "abcdefghijkl"]
        assert shared(pool).size <= 5 * MIB
        assert [digest(each) for each in results] == [seen(letter) for letter in "abcdefghijkl"]
        jobs = [call(pool, "look", blob=value(letter, size)) for letter in "ab" for size in (MIB, 2 * MIB, 6 * MIB)]
        answers = [seen(letter, size) for letter in "ab" for size in (MIB, 2 * MIB, 6 * MIB)]
        assert [await job.result() for job in jobs] == answers
        assert shared(pool).size <= 5 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="counts mappings in /proc")
async def test_a_worker_that_is_killed_leaves_nothing() -> None:
    """Killed while it reads a value: the event fails, others arrive, and the program keeps none of its memory."""
    before = mapped_files()
    async with sharing(2) as pool:
        for _ in range(3):
            dying = [call(pool, "die", blob=value("a", 3 * MIB)), call(pool, "look", blob=value("b"))]
            assert isinstance(await dying[0].error(), WorkerCrashed)
            assert await dying[1].result() == seen("b")
        await until(lambda: pool.statistics().ready == 2)
        await until(lambda: shared(pool).size <= 2 * MIB)
        assert await ask(pool, "look", value("c")) == seen("c")
    gc.collect()
    assert mapped_files() <= before


def mapped_files() -> set[str]:
    """Return the numbers of the nameless files that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[4] for line in lines if "memfd:event_collector_workers" in line}


async def test_results_outlive_their_worker() -> None:
    """A result that the program keeps is not changed by the end of the worker, nor counted for ever."""
    async with sharing() as pool:
        results = [await given(pool, f"make {MIB} {letter}", b"") for letter in "abc"]
        assert isinstance(await call(pool, "die", blob=b"").error(), WorkerCrashed)
        await until(lambda: pool.statistics().ready == 1)
        for letter in "xyzxyz":
            assert digest(await given(pool, f"make {MIB} {letter}", b"")) == seen(letter)
        assert [digest(each) for each in results] == [seen(letter) for letter in "abc"]
        del results
        await until(lambda: shared(pool).in_use <= 3 * MIB)


async def test_a_worker_killed_while_values_are_on_their_way_harms_no_other_event() -> None:
    """Whatever is half copied when a worker dies, each event gets its own bytes or WorkerCrashed."""
    async with sharing(2) as pool:
        letters = "abcdefghij"
        jobs = [call(pool, f"make {5 * MIB} {letter}", blob=value("z", 5 * MIB)) for letter in letters]
        for _ in range(4):
            await asyncio.sleep(0.01)
            for worker in pool.statistics().workers:
                if worker.pid is not None and worker.state == "ready":
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker.pid, signal.SIGKILL)
        for letter, job in zip(letters, jobs, strict=True):
            error = None
            try:
                await job.result()
            except WorkerCrashed as caught:
                error = caught
            assert error is not None or digest(job.blob_back or b"") == seen(letter, 5 * MIB)


async def test_a_fork_of_a_handler_sees_its_own_value(tmp_path: Path) -> None:
    """A process that a handler has forked holds a view: its memory is never used again, nor kept by the pool."""
    async with sharing() as pool:
        paths = [tmp_path / letter for letter in "abc"]
        for path in paths:
            assert await ask(pool, f"fork {path}", value(path.name)) == seen(path.name)
        for letter in "xyzxyz":
            assert await ask(pool, "look", value(letter)) == seen(letter)
        for path in paths:
            Path(f"{path}.go").touch()
        await until(lambda: all(path.exists() and path.read_text() for path in paths))
        assert [path.read_text() for path in paths] == [seen(path.name) for path in paths]
        await until(lambda: shared(pool).in_use <= MIB)


async def test_a_fork_of_the_program_sees_the_results_that_it_had() -> None:
    """A result that a fork of the program sees is not overwritten in its memory, though the program drops it."""
    async with sharing() as pool:
        results = [await given(pool, f"make {MIB} {letter}", b"") for letter in "abcd"]
        reader, writer = os.pipe()
        go, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(go, 1)
            os.write(writer, ",".join(map(digest, results)).encode())
            os._exit(0)
        del results
        for letter in "xyz" * 4:
            assert digest(await given(pool, f"make {MIB} {letter}", b"")) == seen(letter)
        os.write(told, b"x")
        assert os.read(reader, 1000).decode() == ",".join(seen(letter) for letter in "abcd")
        os.waitpid(pid, 0)
        for fd in (reader, writer, go, told):
            os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the kernel")
@pytest.mark.parametrize("limits", [WorkerLimits(open_files=40), WorkerLimits(address_space=700 * MIB)], ids=str)
async def test_workers_with_limits_get_what_they_can_take(limits: WorkerLimits) -> None:
    """Where descriptors or address space are short, values go through the socket, and handlers keep their share."""
    async with sharing(initialize=(apply, (limits,))) as pool:
        jobs = []
        for number, letter in enumerate("abcdefgh", 1):
            size = number * 5 * MIB
            jobs.append((call(pool, "look", blob=value(letter, size)), seen(letter, size)))
            jobs.append((call(pool, "keep", blob=value(letter, MIB)), None))
        for job, expected in jobs:
            assert await job.result() == expected or expected is None


PROGRAM = """
import asyncio, os, sys
{prelude}
from tests.workers.pools import call
from tests.workers.test_shared_memory import sharing, value, seen, digest, given, shared, MIB

async def main():
    async with sharing({options}) as pool:
        for letter in "abcdef":
            assert await call(pool, "look", blob=value(letter, 2 * MIB)).result() == seen(letter, 2 * MIB)
            assert digest(await given(pool, f"make {{2 * MIB}} {{letter}}", b"")) == seen(letter, 2 * MIB)
        {end}

asyncio.run(main())
"""


def run_program(end: str, prelude: str = "", options: str = "") -> "subprocess.CompletedProcess[str]":
    text = PROGRAM.format(prelude=prelude, options=options, end=end)
    command = [sys.executable, "-c", f"exec({text!r}, globals())"]
    return subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)


def test_without_memfd_the_memory_has_no_name_either() -> None:
    """Where the system has no memfd, unlinked files do; nothing is left in the folder of temporary files."""
    done = run_program("print(shared(pool).segments > 0)", prelude="del os.memfd_create")
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_without_room_for_segments_values_go_through_the_socket() -> None:
    """Files may not become large, as in a full file system: values arrive all the same."""
    prelude = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (MIB_, MIB_))".replace("MIB_", str(MIB))
    done = run_program("print(shared(pool).segments)", prelude=prelude)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Its workers end, and with them the memory, which has no name in a file system."""
    end = "print(*[one.pid for one in pool.statistics().workers], flush=True); os.kill(os.getpid(), 9)"
    done = run_program(end, prelude=f"del os.memfd_create; os.environ['TMPDIR'] = {str(tmp_path)!r}", options="2")
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2

    async def gone() -> None:
        await until(lambda: not any(_is_running(pid) for pid in pids))

    asyncio.run(gone())
    assert not list(tmp_path.iterdir())


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_large_values_do_not_stall_the_loop() -> None:
    """A value of 64 MB is copied in turns with the other callbacks of the loop, in both directions."""
    async with sharing() as pool:
        size = 64 * MIB
        for command in ("look", f"make_bytes {size} x"):
            job, turns = call(pool, command, blob=value("a", size)), 0
            while not job.future.done():
                await asyncio.sleep(0)
                turns += 1
            assert turns > size // (8 * MIB)
