"""Batches of events in executors: what travels together, what becomes of each event, and how much is in flight."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from event_collector import (
    Collector,
    ConfigError,
    Context,
    Error,
    ExecutorLost,
    HandlerTimeout,
    Payload,
    Retry,
    WorkerCrashed,
)
from event_collector.remote.batch_host import BatchReply, close_hosts, encode_reply
from event_collector.remote.codec import PayloadDecoder
from event_collector.remote.setup import seal
from event_collector.tiers.executors.batching import DEPTH, MOST
from tests.docs.test_error_messages import assert_documented
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import assert_alive, error_of, hurry, running, until
from tests.event_collector.tiers import sample_lifecycles as lifecycles
from tests.event_collector.tiers.workers.test_worker_lifecycle import logged


class Places(Executor):
    """Runs jobs in a few threads, as an executor of processes does, and notes what it was given.

    Args:
        places: how many threads.
        price: seconds that each job costs beside its work.

    """

    def __init__(self, places: int, price: float = 0.0) -> None:
        self._price = price
        self._threads = ThreadPoolExecutor(places)
        self._max_workers = places
        self.sizes: list[int] = []
        self.jobs: list[list[bytes]] = []
        self.flying = self.most = 0
        self.answer: Callable[[int], Any] | None = None
        """Answers in place of the threads; takes the number of the job."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.jobs.append(args[2])
        self.sizes.append(len(args[2]))
        self.flying += 1
        self.most = max(self.most, self.flying)
        told = None if self.answer is None else self.answer(len(self.sizes))
        future = told if isinstance(told, Future) else self._threads.submit(self._run, fn, args)
        future.add_done_callback(self._ended)
        return future

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        time.sleep(self._price)
        return fn(*args)

    def _ended(self, _: Future[Any]) -> None:
        self.flying -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)


@pytest.fixture
def places() -> Iterator[Places]:
    with Places(2) as found:
        yield found


def done(reply: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    future.set_result(reply)
    return future


async def test_a_flood_travels_in_batches_and_comes_back_event_by_event(places: Places) -> None:
    """Many short events share tasks, more and more of them; each has its own result, its neighbour's error or not."""
    async with running(Collector("c", handlers.act, mode=places)) as queue:
        values = [["raise", "key"] if number % 7 == 0 else ["echo", number] for number in range(3000)]
        events = await queue.get_publisher().send_many(Payload(value) for value in values)
        for number, event in enumerate(events):
            result = (await event.wait()).first()
            if number % 7 == 0:
                assert isinstance(result, Error)
                assert isinstance(result.err, KeyError)
            else:
                assert result.unwrap() == number
    assert places.sizes[0] == 1
    assert max(places.sizes) > 16
    assert len(places.sizes) < 1000
    assert sum(places.sizes) == 3000


async def test_an_executor_has_two_tasks_for_each_place_and_no_more(places: Places) -> None:
    """Whatever waits, in flight is what keeps the executor busy: it cannot be flooded."""
    async with running(Collector("c", handlers.act, mode=places), max_consumers=500) as queue:
        events = [await queue.get_publisher().send(Payload(["sleep", 0.002])) for _ in range(300)]
        for event in events:
            assert (await event.wait()).first().ok()
    assert places.most == 2 * DEPTH


async def test_consumers_follow_what_the_executor_can_use() -> None:
    """The queue hands out as many events as the executor has room for, so that its batches fill; no more wait there."""
    with Places(2, price=0.03) as places:
        async with running(Collector("c", handlers.act, mode=places)) as queue:
            for _ in range(2):  # nothing is known of the executor when the first ones are sent
                events = await queue.get_publisher().send_many(Payload(["echo", 1]) for _ in range(8000))
                most = 0
                for event in events:
                    await event.wait()
                    most = max(most, queue.consumer_count())
    assert max(places.sizes) > MOST // 4
    assert most <= 2 * DEPTH * MOST + 500


async def test_slow_events_travel_one_by_one(places: Places) -> None:
    """Events of the latency's length share no task: each result is there when its handler ends."""
    async with running(Collector("c", handlers.act, mode=places)) as queue:
        events = [await queue.get_publisher().send(Payload(["sleep", 0.11])) for _ in range(6)]
        for event in events:
            assert (await event.wait()).first().ok()
    assert places.sizes == [1] * 6


async def test_large_payloads_do_not_gather(places: Places) -> None:
    """A task has no more than a mebibyte of payloads, unless one alone is larger."""
    collector = Collector("c", handlers.act, mode=places)
    async with running(collector) as queue:
        await assert_alive(queue, 500)
        places.sizes.clear()
        values = [bytes(2_000_000), *[bytes(400_000)] * 9]
        events = await queue.get_publisher().send_many(Payload(["echo", value]) for value in values)
        for event, value in zip(events, values, strict=True):
            assert (await event.wait()).first().unwrap() == value
    assert max(places.sizes) <= 2


# -- timeouts --


async def test_only_the_event_over_its_time_fails_and_those_behind_it_run(places: Places) -> None:
    """In a batch the late event has a HandlerTimeout that says where its handler was; the others have their results."""
    collector = Collector("c", handlers.act, mode=places, timeout=1.0)  # a busy machine halts for less
    async with running(collector) as queue:
        await assert_alive(queue, 2000)
        values = [["sleep", 3.0] if number == 50 else ["echo", number] for number in range(100)]
        begin = time.monotonic()
        events = await queue.get_publisher().send_many(Payload(value) for value in values)
        results = [(await event.wait()).first() for event in events]
        assert time.monotonic() - begin < 20
        late = results.pop(50)
        assert isinstance(late, Error)
        assert isinstance(late.err, HandlerTimeout)
        assert str(late.err) == "collector 'c': act took longer than its timeout of 1.0 s"
        assert "in act" in str(late.err.__cause__)
        assert "batch_host" not in str(late.err.__cause__)
        assert [result.unwrap() for result in results] == [*range(50), *range(51, 100)]
        await assert_alive(queue, 20)


async def test_a_coroutine_over_its_time_is_cancelled(places: Places) -> None:
    """A handler that awaits is cancelled in its process, and its thread ends; later events have another."""
    before = set(threading.enumerate())
    collector = Collector("c", handlers.act_async, mode=places, timeout=1.0)
    async with running(collector) as queue:
        await assert_alive(queue, 2)
        assert isinstance(await error_of(queue, ["sleep", 3600]), HandlerTimeout)
        await assert_alive(queue, 20)
        await asyncio.to_thread(close_hosts, queue_of(collector).name)  # lifecycles may need an event loop
        await until(lambda: not batch_threads() - before, "the cancelled handler has ended")


async def test_a_process_that_does_not_answer_is_given_up(places: Places) -> None:
    """A task that is long overdue as a whole is its events' HandlerTimeout: its process is stuck."""
    stuck: Future[Any] = Future()
    places.answer = lambda job: stuck if job == 1 else None
    async with running(Collector("c", handlers.act, mode=places, timeout=0.5)) as queue:
        with hurry(0.05):
            error = await error_of(queue, ["echo", 1])
        assert isinstance(error, HandlerTimeout)
        assert stuck.cancelled()
        await assert_alive(queue)  # in no hurry: a busy machine may take longer over this one


def queue_of(collector: Collector) -> Any:
    return next(iter(collector._tier._queues.values()))  # type: ignore[union-attr]


def batch_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "event batch"}


# -- crashes --


def is_second_attempt(body: bytes) -> bool:
    return PayloadDecoder(Any, "c")(body, None).attempt == 2


async def test_after_a_crash_events_travel_alone(places: Places) -> None:
    """A crash fails all events of its task by the collector's rule; tried again, none shares a task with another."""

    def answer(job: int) -> Any:
        crash = places.sizes[job - 1] > 4 and not crashed
        crashed.extend([job] * crash)
        return done(encode_reply(BatchReply([], [], "far:1"))) if crash else None

    crashed: list[int] = []
    retry = Retry(max_attempts=3, backoff=0.0)
    async with running(Collector("c", handlers.act, mode=places, retry=retry)) as queue:
        places.answer = answer
        events = await queue.get_publisher().send_many(Payload(["echo", n]) for n in range(200))
        assert [(await event.wait()).first().unwrap() for event in events] == list(range(200))
    (job,) = crashed
    again = [bodies for bodies in places.jobs if any(is_second_attempt(body) for body in bodies)]
    assert [len(bodies) for bodies in again] == [1] * places.sizes[job - 1]
    assert sum(places.sizes) == 200 + places.sizes[job - 1]


async def test_an_event_in_a_crash_fails_without_retry(places: Places) -> None:
    """What may have taken effect is not run again by itself: the error names the worker."""
    places.answer = lambda job: done(encode_reply(BatchReply([], [], "far:1"))) if job == 1 else None
    async with running(Collector("c", handlers.act, mode=places)) as queue:
        error = await error_of(queue, ["echo", 1])
        assert isinstance(error, WorkerCrashed)
        assert "far:1" in str(error)
        assert places.sizes == [1]
        await assert_alive(queue)


async def test_an_event_that_ends_two_workers_is_quarantined(places: Places) -> None:
    """Retries end after the second worker that one event has ended."""
    places.answer = lambda job: done(encode_reply(BatchReply([], [], "far:1")))
    retry = Retry(max_attempts=10, backoff=0.0)
    async with running(Collector("c", handlers.act, mode=places, retry=retry)) as queue:
        assert isinstance(await error_of(queue, ["echo", 1]), WorkerCrashed)
        (letter,) = queue.dead_letters
        assert (letter.reason, letter.attempts) == ("quarantined", 2)
    assert places.sizes == [1, 1]


async def test_an_executor_that_withdraws_tasks_is_an_error_of_their_events(places: Places) -> None:
    """A future that its executor cancels cancels nobody here: the event has an ExecutorLost."""

    def answer(job: int) -> Any:
        future: Future[Any] = Future()
        future.cancel()
        return future if job == 1 else None

    places.answer = answer
    async with running(Collector("orders", handlers.act, mode=places)) as queue:
        error = await error_of(queue, ["echo", 1])
        assert isinstance(error, ExecutorLost)
        assert isinstance(error, ConnectionError)
        assert_documented(error)
        await assert_alive(queue)


@pytest.mark.parametrize(
    "reply", [BatchReply([], []), BatchReply([b"\x92\x00\x01"], []), BatchReply([b"\x92\x00\x01"] * 2, [0.0] * 2)]
)
async def test_a_reply_of_the_wrong_length_is_no_reply(places: Places, reply: BatchReply) -> None:
    """Fewer answers than none, or more than events: the event fails, and is not sent for ever."""
    places.answer = lambda job: done(encode_reply(reply))
    async with running(Collector("c", handlers.act, mode=places)) as queue:
        assert "no reply of a collector" in str(await error_of(queue, ["echo", 1]))
    assert places.sizes == [1]


# -- cancelling --


async def test_a_cancelled_event_that_has_not_begun_is_not_run(places: Places) -> None:
    """Cancelled while it waits for a task, an event is never in one; those around it are."""
    async with running(Collector("c", handlers.act, mode=places)) as queue:
        publisher = queue.get_publisher()
        busy = [await publisher.send(Payload(["sleep", 0.2])) for _ in range(2 * DEPTH)]
        waiting = [await publisher.send(Payload(["echo", number])) for number in range(3)]
        await until(lambda: sum(places.sizes) == 2 * DEPTH, "the tasks are under way")
        assert waiting[1].cancel()
        for event in busy:
            assert (await event.wait()).first().ok()
        assert (await waiting[1].wait()).first().error()
        assert [(await waiting[n].wait()).first().unwrap() for n in (0, 2)] == [0, 2]
    assert sum(places.sizes) == 2 * DEPTH + 2


# -- who shares what --


async def test_collectors_of_one_executor_take_turns_and_share_its_places(places: Places) -> None:
    """Two collectors in one executor have its places together, each event its own handler, and neither starves."""
    collectors = [Collector(key, handlers.act, mode=places) for key in "ab"]
    async with running(*collectors) as queue:
        events = [await queue.get_publisher().send(Payload(["echo", number])) for number in range(300)]
        for number, event in enumerate(events):
            assert [result.unwrap() for result in await event.wait()] == [number, number]
    assert places.most <= 2 * DEPTH


def test_a_collector_is_opened_once_for_a_thread_and_closed_when_asked(tmp_path: Any) -> None:
    """`close_hosts()` leaves the lifecycles of one setup, whichever threads have entered them."""
    from event_collector.remote.batch_host import decode_reply, run_batch
    from event_collector.remote.codec import encode_payload

    log = tmp_path / "log"
    collector = Collector(
        "c",
        lifecycles.use_context_async,
        mode="process",
        ctx=Context({"log": str(log)}),
        lifecycle=lifecycles.in_one_task,
    )
    setup, body = seal(collector), encode_payload(Payload(1), "c")[0]
    for timeout in (None, 5.0):
        threads = [
            threading.Thread(target=lambda limit=timeout: run_batch("mine", setup, [body] * 2, limit))  # type: ignore[misc]
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reply = decode_reply(run_batch("other", setup, [body], None))
    assert len(reply.replies) == len(reply.seconds) == 1
    assert logged(log) == [f"entered {os.getpid()}"] * 5
    close_hosts("mine")
    assert logged(log)[5:] == [f"left {os.getpid()}"] * 4
    close_hosts("other")
    close_hosts("unknown")
    assert len(logged(log)) == 10


async def test_an_executor_that_does_not_tell_its_size_gets_what_there_is() -> None:
    """Without a size tasks are not held back: the queue's own consumers bound them."""

    class Unsized(Places):
        def __init__(self) -> None:
            super().__init__(1)
            del self._max_workers

    with Unsized() as executor:
        async with running(Collector("c", handlers.act, mode=executor)) as queue:
            await assert_alive(queue, 200)
        assert sum(executor.sizes) == 200


def test_dask_has_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Dask the error has the command that installs it."""
    import sys

    from event_collector import dask_workers

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'event-collector-hybrid\[dask\]'"):
        dask_workers(None)  # type: ignore[arg-type]
