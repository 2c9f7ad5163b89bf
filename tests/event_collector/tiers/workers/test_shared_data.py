"""Shared data of collectors, and arrays that travel in shared memory."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from event_collector import Collector, ConfigError, Context, Delivery, Payload
from event_collector.testing import in_process_workers
from tests.event_collector.modes import ask, running, until
from tests.event_collector.tiers.workers import sample_shared as handlers

WEIGHTS = bytes(range(250)) * 4000
SHARED = {"model": handlers.Model(bytearray(WEIGHTS), "m"), "raw": b"abcdef"}


@pytest.mark.parametrize("start_method", ["forkserver", "spawn", "fork"])
async def test_each_worker_reads_shared_data(start_method: str) -> None:
    """With every start method, and in a worker that replaces another, buffers are read-only views."""
    collector = Collector("c", handlers.about, shared=SHARED)
    async with running(collector, start_method=start_method) as queue:
        *seen, pid = (await ask(queue, 7)).unwrap()
        assert seen == ["m", 7, True, b"abc", True]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: all(worker.pid != pid for worker in queue.snapshot().workers), "the worker has ended")
        *seen, other = (await ask(queue, 8)).unwrap()
        assert seen == ["m", 8, True, b"abc", True]
        assert other != pid


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="reads /proc")
async def test_workers_have_no_copy_of_shared_data() -> None:
    """All workers map the same file, and what they have mapped of it is shared."""
    shared = {"model": handlers.Model(bytearray(32 * 1024 * 1024), "m"), "raw": b"abc"}
    async with running(Collector("c", handlers.about, shared=shared), min_workers=2, max_workers=2) as queue:
        files = set()
        for worker in queue.snapshot().workers:
            with open(f"/proc/{worker.pid}/maps") as maps:
                sized = [line.split() for line in maps if "memfd:" in line]
            files |= {line[4] for line in sized if _size(line[0]) >= 32 * 1024 * 1024}
        assert len(files) == 1


def _size(span: str) -> int:
    start, end = (int(each, 16) for each in span.split("-"))
    return end - start


@pytest.mark.parametrize("mode", ["thread", "adaptive"])
async def test_in_the_program_handlers_see_the_very_object(mode: str) -> None:
    """On the event loop and in threads nothing is copied; bytes are a read-only view there too."""
    async with running(Collector("c", handlers.about, mode=mode, shared=SHARED)) as queue:
        assert (await ask(queue, 9)).unwrap() == ["m", 9, False, b"abc", True, os.getpid()]


async def test_handlers_that_yield_read_shared_data() -> None:
    """The data is there for every kind of handler."""
    async with running(Collector("c", handlers.numbers, mode="process", shared=SHARED)) as queue:
        event = await queue.get_publisher().send(3)
        assert [part async for part in event.parts()] == [*b"abc"]


async def test_workers_in_the_test_process_read_shared_data() -> None:
    """The testing kit's workers have it, too."""
    with in_process_workers():
        async with running(Collector("c", handlers.about, mode="process", shared=SHARED)) as queue:
            assert (await ask(queue, 7)).unwrap()[:5] == ["m", 7, True, b"abc", True]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shared": [1]}, "takes a dict"),
        ({"shared": {"not a name": 1}}, "no name that a context can have"),
        ({"shared": {"model": 1}, "ctx": Context({"model": 2})}, "a value 'model' of its own"),
        ({"shared": {"model": 1}, "mode": ProcessPoolExecutor(1)}, "the processes of an executor"),
    ],
)
def test_bad_shared_data_is_refused(options: dict[str, Any], text: str) -> None:
    """The error says what is wrong, and what to do."""
    with pytest.raises(ConfigError, match=text):
        Collector("c", handlers.about, **options)


async def test_shared_data_that_cannot_be_pickled_is_refused_at_the_start() -> None:
    """The error names the value."""
    collector = Collector("c", handlers.about, mode="process", shared={"model": (each for each in "ab")})
    with pytest.raises(ConfigError, match="shared value 'model' cannot be pickled"):
        async with running(collector):
            pass


async def test_arrays_travel_in_shared_memory() -> None:
    """Handlers get read-only arrays and may keep them; results are writable; several of a value, parts, too."""
    np = pytest.importorskip("numpy")
    collectors = [
        Collector(each.__name__, each, mode="process")
        for each in (handlers.keep, handlers.halves, handlers.parts, handlers.is_writable)
    ]
    async with running(*collectors) as queue:
        array, sums = np.arange(200_000, dtype="f8"), []
        assert await queue.call("is_writable", array) is False
        for number in range(5):
            sent = array + number
            sums.append(float(sent[::2].sum()))
            assert await queue.call("keep", sent) == sums
        assert queue.snapshot().shared_memory_in_use >= 5 * array.nbytes
        for _ in range(3):
            found = await queue.call("halves", array)
            assert (found["low"] == array[:100_000]).all()
            assert (found["high"] == array[100_000:]).all()
            found["low"] += 1
        event = await queue.get_publisher().send(Payload(array, Delivery.KEY, ["parts"]))
        got = np.concatenate([part async for part in event.parts()])
        assert (got == array).all()
        streamed = [result.unwrap() async for result in queue.stream("halves", [array + n for n in range(20)])]
        assert [each["high"][0] for each in streamed] == [100_000.0 + n for n in range(20)]


async def test_without_shared_memory_arrays_are_equal() -> None:
    """max_shared_memory=0: the same values through the socket, read-only in handlers and writable in results."""
    np = pytest.importorskip("numpy")
    collectors = [Collector(each.__name__, each, mode="process") for each in (handlers.halves, handlers.is_writable)]
    async with running(*collectors, max_shared_memory=0) as queue:
        array = np.arange(200_000, dtype="f8")
        assert await queue.call("is_writable", array) is False
        found = await queue.call("halves", array)
        found["low"] += 1
        assert (found["low"] == array[:100_000] + 1).all()
        assert queue.snapshot().shared_memory == 0
