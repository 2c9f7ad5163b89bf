"""What ScaledProcessPoolExecutor adds to, and keeps of, the standard library's contract."""

import asyncio
import multiprocessing
import os
import random
import threading
import time
from concurrent.futures import BrokenExecutor, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pytest

from event_collector_workers import JobTimeout, PoolBroken, ScaledProcessPoolExecutor, WorkerCrashed, worker_number
from tests.event_collector import sample_graphs
from tests.workers.pools import BOUND

_state: object = "untouched"
_lock = None


def square(number: int) -> int:
    return number * number


def divide(number: int, by: int = 1) -> float:
    return number / by


def remember(value: object) -> None:
    global _state
    _state = value


def recall() -> object:
    return _state


def call_what_is_remembered(method: str, *arguments: object) -> None:
    getattr(_state, method)(*arguments)


def send_word(connection: Connection) -> None:
    connection.send("word")


def keep_lock(lock: object) -> None:
    global _lock
    _lock = lock


def use_lock() -> bool:
    with _lock:
        return True


def refuse_to_start() -> None:
    raise LookupError("no licence")


def return_something_local() -> object:
    return lambda: None


class OddError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def raise_odd() -> None:
    raise OddError("one", "two")


@pytest.fixture
def executor():
    with ScaledProcessPoolExecutor(2) as executor:
        yield executor


def test_submit_returns_the_result(executor):
    """A call's value, positional and keyword arguments included, comes back in its future."""
    assert executor.submit(square, 7).result() == 49
    assert executor.submit(divide, 9, by=3).result() == 3.0


def test_exception_comes_back_with_the_workers_traceback(executor):
    """The exception is the call's own, and its cause shows where it was raised."""
    error = executor.submit(divide, 1, by=0).exception()
    assert isinstance(error, ZeroDivisionError)
    assert "in divide" in str(error.__cause__)


@pytest.mark.parametrize("name", ["shared_groups", "shared_arguments", "pair"])
def test_exceptions_that_refer_to_each_other_come_back(executor, name):
    """The traceback of exceptions with more ways through them than anything could follow takes bounded time."""
    error = executor.submit(sample_graphs.echo, name).exception(timeout=BOUND)
    assert type(error) is type(sample_graphs.GRAPHS[name]())
    assert len(str(error.__cause__)) < 100_000


def test_map_keeps_the_order_whatever_the_chunk_size(executor):
    """Chunks change how calls travel, not what comes back."""
    expected = [number * number for number in range(100)]
    assert list(executor.map(square, range(100))) == expected
    assert list(executor.map(square, range(100), chunksize=7)) == expected
    assert list(executor.map(divide, range(6), [1, 2, 3, 1, 2, 3], chunksize=4)) == [0, 0.5, 2 / 3, 3, 2, 5 / 3]
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(square, [1], chunksize=0)


def test_large_values_pass(executor):
    """Arguments and results of any size travel."""
    data = os.urandom(5_000_000)
    assert executor.submit(bytes, data).result() == data


def test_crash_fails_one_call_only(executor):
    """The call that killed its worker has BrokenProcessPool; all others, earlier and later, are done."""
    before = [executor.submit(square, number) for number in range(50)]
    crash = executor.submit(os._exit, 3)
    after = [executor.submit(square, number) for number in range(50)]
    assert isinstance(crash.exception(), BrokenProcessPool)
    assert isinstance(crash.exception(), WorkerCrashed)
    assert [future.result() for future in before + after] == [number * number for number in range(50)] * 2


def test_what_cannot_be_pickled_fails_its_own_call(executor):
    """An argument, a result or an exception that does not pickle is that call's error; the pool goes on."""
    assert executor.submit(lambda: 1).exception() is not None
    assert executor.submit(return_something_local).exception() is not None
    assert "one and two" in str(executor.submit(raise_odd).exception())
    assert executor.submit(square, 2).result() == 4


def test_timeout_is_the_calls_own(executor):
    """A call over its time is killed and has a TimeoutError; its neighbour goes on."""
    neighbour = executor.submit(time.sleep, 0.3)
    late = executor.submit_with_timeout(0.1, time.sleep, 60)
    assert isinstance(late.exception(timeout=30), JobTimeout)
    assert neighbour.result() is None


def test_waiting_call_can_be_cancelled():
    """A call that no worker has yet is cancelled and never runs."""
    with ScaledProcessPoolExecutor(1) as executor:
        futures = [executor.submit(time.sleep, 0.05) for _ in range(10)]
        assert futures[-1].cancel()
        with pytest.raises(CancelledError):
            futures[-1].result()
        executor.shutdown(cancel_futures=True)
        assert all(future.done() for future in futures)


def test_initializer_runs_once_in_each_worker():
    """The initializer's arguments may be anything that multiprocessing can hand to a child."""
    with ScaledProcessPoolExecutor(1, initializer=remember, initargs=("ready",)) as executor:
        assert executor.submit(recall).result() == "ready"
    context = multiprocessing.get_context("spawn")
    for chosen in (context, None):
        with ScaledProcessPoolExecutor(1, chosen, keep_lock, (context.Lock(),)) as executor:
            assert executor.submit(use_lock).result() is True


@pytest.mark.filterwarnings(
    "ignore:.*use of fork.*:DeprecationWarning"
)  # Python 3.12 and later, if that is the default
@pytest.mark.parametrize(
    ("make", "mark", "is_marked"),
    [
        (multiprocessing.Lock, "acquire", lambda lock: not lock.acquire(block=False)),
        (multiprocessing.Event, "set", lambda event: event.is_set()),
        (multiprocessing.Semaphore, "release", lambda semaphore: semaphore.get_value() == 2),
        (partial(multiprocessing.Array, "i", [1, 2]), "acquire", lambda array: not array.acquire(block=False)),
    ],
)
def test_initializer_takes_what_the_default_context_makes(make, mark, is_marked):
    """Workers share the locks and the like that `multiprocessing.Lock()` has made, whatever the default context is."""
    shared = make()
    with ScaledProcessPoolExecutor(1, initializer=remember, initargs=(shared,)) as executor:
        executor.submit(call_what_is_remembered, mark).result(30)
    assert is_marked(shared)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_connections_arrive_as_themselves():
    """A connection that goes to a worker, at its start or in a call, has its own descriptor there, whatever number."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        with ScaledProcessPoolExecutor(1, initializer=remember, initargs=(theirs,)) as executor:
            executor.submit(call_what_is_remembered, "send", "word").result(30)
            assert ours.poll(30)
            assert ours.recv() == "word"
        with ScaledProcessPoolExecutor(1) as executor:
            executor.submit(send_word, theirs).result(30)
            assert ours.poll(30)
            assert ours.recv() == "word"


def test_failing_initializer_breaks_the_executor():
    """When no worker can start, calls fail with a BrokenExecutor that says why, and submit raises it."""
    with ScaledProcessPoolExecutor(1, initializer=refuse_to_start) as executor:
        error = executor.submit(square, 1).exception(timeout=30)
        assert isinstance(error, BrokenExecutor)
        assert "no licence" in str(error)
        with pytest.raises(PoolBroken):
            executor.submit(square, 1)


def test_worker_is_replaced_after_its_share():
    """No worker runs more calls than max_tasks_per_child."""
    with ScaledProcessPoolExecutor(2, max_tasks_per_child=3) as executor:
        pids = [future.result() for future in [executor.submit(os.getpid) for _ in range(30)]]
    assert max(pids.count(pid) for pid in pids) <= 3


def test_resize_is_live():
    """Workers come and go while calls run, and statistics show it."""
    with ScaledProcessPoolExecutor(1) as executor:
        assert executor.statistics() is None
        first = executor.submit(time.sleep, 0.1)
        executor.resize(3)
        futures = [executor.submit(time.sleep, 0.05) for _ in range(30)]
        wait([first, *futures], timeout=30)
        assert executor.statistics().target == 3
        executor.resize(1)
        assert executor.submit(square, 3).result() == 9
        assert executor.statistics().target == 1
        with pytest.raises(ValueError, match="max_workers"):
            executor.resize(0)


async def test_use_from_asyncio(executor):
    """run_in_executor works as with any executor."""
    loop = asyncio.get_running_loop()
    results = await asyncio.gather(*(loop.run_in_executor(executor, square, number) for number in range(100)))
    assert results == [number * number for number in range(100)]


def test_use_from_threads(executor):
    """Ten threads submit and cancel at will: every future is resolved, once."""
    calls: list[int] = []
    futures = []

    def work() -> None:
        for number in range(200):
            future = executor.submit(square, number)
            future.add_done_callback(lambda _: calls.append(1))
            futures.append(future)
            if number % 3 == 0:
                future.cancel()

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wait(futures, timeout=60).not_done
    assert len(calls) == 2000


def test_submit_after_shutdown_is_refused(executor):
    """A closed executor takes nothing, and closing it again does nothing."""
    executor.submit(square, 1)
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)


def test_forgotten_executor_finishes_its_calls():
    """An executor that nobody holds any more completes what it has, and its thread ends."""
    executor = ScaledProcessPoolExecutor(1)
    thread_names = {thread.name for thread in threading.enumerate()}
    future = executor.submit(square, 5)
    del executor
    assert future.result(timeout=30) == 25
    deadline = time.monotonic() + 30
    while {thread.name for thread in threading.enumerate()} - thread_names and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not {thread.name for thread in threading.enumerate()} - thread_names


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_workers": 0}, ValueError),
        ({"initializer": 3}, TypeError),
        ({"max_tasks_per_child": 0}, ValueError),
        ({"max_tasks_per_child": 1.5}, TypeError),
        ({"max_tasks_per_child": 1, "mp_context": multiprocessing.get_context("fork")}, ValueError),
    ],
)
def test_impossible_options_are_refused(options, error):
    """What the standard library refuses is refused in the same way."""
    with pytest.raises(error):
        ScaledProcessPoolExecutor(**options)


def test_workers_of_an_executor_have_numbers_an_environment_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a queue: numeric libraries get a share of the CPUs, and a seed makes random numbers reproducible."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = []
    for _ in range(2):
        with ScaledProcessPoolExecutor(1, seed=5, worker_env={"GREETING": "hello"}, worker_threads=3) as executor:
            names = ["GREETING", "OMP_NUM_THREADS"]
            assert list(executor.map(os.getenv, names)) == ["hello", "3"]
            assert executor.submit(worker_number).result() == 0
            found.append(executor.submit(random.random).result())
    assert found[0] == found[1]
    with ScaledProcessPoolExecutor(64) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed takes a whole number, at least 0, not -1"),
        ({"worker_threads": 0}, "worker_threads takes a whole number, at least 1, not 0"),
        ({"worker_nice": 20}, "worker_nice takes a whole number, 0 to 19, not 20"),
        (
            {"worker_env": {"A": "1"}, "mp_context": multiprocessing.get_context("fork")},
            "worker_env, worker_threads and",
        ),
        ({"worker_speed": 1}, r"ScaledProcessPoolExecutor\(\) has no argument 'worker_speed'"),
    ],
)
def test_an_option_of_workers_that_is_not_accepted_is_refused(options: Any, message: str) -> None:
    """The error names it."""
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        ScaledProcessPoolExecutor(1, **options)
