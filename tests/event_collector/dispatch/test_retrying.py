"""Events that are tried again, in every mode: by whom, when, with what results."""

import asyncio
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    Context,
    Delivery,
    Error,
    Payload,
    QueueShutDown,
    QueueType,
    Reject,
    Retry,
    RetryLater,
    SimpleRouter,
    WorkerCrashed,
)
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.modes import BOUND, MODES, ask, balanced, balanced_all_along, place, running, until

AT_ONCE = Retry(max_attempts=4, backoff=0.0)
LONG = Retry(max_attempts=4, backoff=60.0, jitter=0.0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_handler_is_tried_again_in_every_mode(mode: str) -> None:
    """Attempts go on until one succeeds; the handler sees their number and how the last one failed."""
    handler = handlers.succeed_at_async if MODES[mode].__name__.endswith("async") else handlers.succeed_at
    with place(mode) as where:
        collector = Collector("c", handler, mode=where, retry=AT_ONCE)
        async with running(collector) as queue, balanced_all_along(queue):
            for how, text in [
                ("refuse", "ConnectionError: attempt 2"),
                ("later", "RetryLater: attempt 2"),
                ("soon", "RetryLater"),
            ]:
                payload = Payload([3, how])
                event = await queue.get_publisher().send(payload)
                assert (await event.wait()).first().unwrap() == [3, text]
                assert event.payload is payload
                assert payload.attempt == 1
                assert payload.last_error is None
            assert (await ask(queue, [1, "refuse"])).unwrap() == [1, None]
            assert not queue.dead_letters


@pytest.mark.parametrize("mode", MODES)
async def test_the_class_that_the_handler_raised_decides_in_every_mode(mode: str) -> None:
    """An exception whose constructor takes other arguments, or that cannot come back from its worker, is retried."""
    handler = handlers.succeed_at_async if MODES[mode].__name__.endswith("async") else handlers.succeed_at
    with place(mode) as where:
        collector = Collector("c", handler, mode=where, retry=Retry(3, 0.0, on=handlers.ApiError))
        async with running(collector) as queue:
            for how in ("api", "api with object", "unimported", "own later"):
                assert (await ask(queue, [3, how])).unwrap()[0] == 3, how
            assert (await ask(queue, [3, "refuse"])).details["attempt"] == 1  # type: ignore[union-attr,index]


@pytest.mark.parametrize("mode", MODES)
async def test_the_last_error_is_the_result_in_every_mode(mode: str) -> None:
    """After the last attempt the event has its error, with the number of attempts; so it has when refused."""
    handler = handlers.succeed_at_async if MODES[mode].__name__.endswith("async") else handlers.succeed_at
    with place(mode) as where:
        collector = Collector("c", handler, mode=where, retry=Retry(3, 0.0, on=ConnectionError))
        async with running(collector) as queue, balanced_all_along(queue):
            for how, kind, attempts, reason in [
                ("refuse", ConnectionError, 3, "exhausted"),
                ("later", RetryLater, 3, "exhausted"),
                ("reject", Reject, 1, "rejected"),
                ("mistake", KeyError, 1, "not retried"),
            ]:
                result = await ask(queue, [99, how])
                assert isinstance(result, Error)
                assert type(result.err) is kind
                assert result.details is not None
                assert result.details["attempt"] == attempts
                assert (result.details["last_error"] is None) == (attempts == 1)
                letter = list(queue.dead_letters)[-1]
                assert (letter.collector, letter.attempts, letter.reason) == ("c", attempts, reason)
                assert kind.__name__ in letter.trace
                assert letter.payload.value == [99, how]
                assert queue.accounting().dead == len(queue.dead_letters)


async def test_an_error_that_is_returned_counts_as_the_exception_in_it() -> None:
    """Returning Error(exception) is retried as raising it is; an Error of anything else is an answer."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        return Error(payload.value) if payload.attempt == 1 else payload.attempt

    async with running(Collector("c", handler, retry=AT_ONCE)) as queue:
        assert (await ask(queue, ValueError())).unwrap() == 2
        assert (await ask(queue, "text")).err == "text"  # type: ignore[union-attr]


async def test_one_error_for_many_events_stays_as_it_is() -> None:
    """A handler may return the same Error again and again: what is told of the attempts is not written into it."""
    shared = Error(ConnectionError("closed"))

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        return shared

    async with running(Collector("c", handler, retry=Retry(2, 0.0))) as queue:
        results = [await ask(queue, number) for number in range(2)]
        assert [result.details for result in results] == [  # type: ignore[union-attr]
            {"attempt": 2, "last_error": "ConnectionError: closed"}
        ] * 2
        assert shared.details is None


async def test_a_collector_that_fails_is_tried_again_alone() -> None:
    """Of several collectors only those that failed run again; the results keep their order."""
    calls: list[str] = []

    def make(name: str, failures: int) -> Any:
        async def handler(payload: Payload[Any], ctx: Context) -> Any:
            calls.append(f"{name}{payload.attempt}")
            if payload.attempt <= failures:
                raise ConnectionError(name)
            return name

        return handler

    collectors = [
        Collector("a", make("a", 1), retry=AT_ONCE),
        Collector("b", make("b", 0), retry=AT_ONCE),
        Collector("c", make("c", 3), retry=AT_ONCE),
        Collector("d", make("d", 1)),
        Collector("p", handlers.succeed_at, retry=AT_ONCE),
    ]
    async with running(*collectors) as queue, balanced_all_along(queue):
        payload = Payload([2, "refuse"])
        event = await queue.get_publisher().send(payload)
        results = await event.wait()
        assert [result.key for result in results] == ["a", "b", "c", "d", "p"]
        assert [result.ok() for result in results] == [True, True, True, False, True]
        assert [results[0].unwrap(), results[1].unwrap(), results[2].unwrap()] == ["a", "b", "c"]
        assert results[4].unwrap() == [2, "ConnectionError: attempt 1"]
        assert sorted(calls) == ["a1", "a2", "b1", "c1", "c2", "c3", "c4", "d1"]
        assert event.payload is payload


async def test_collectors_of_one_event_keep_their_own_waits() -> None:
    """One collector is tried again while another of the same event still waits."""
    seen: list[str] = []

    def make(name: str, delay: float) -> Any:
        async def handler(payload: Payload[Any], ctx: Context) -> Any:
            seen.append(f"{name}{payload.attempt}")
            if payload.attempt < 3:
                raise RetryLater(delay=delay)
            return name

        return handler

    async with running(
        Collector("quick", make("q", 0.001), retry=LONG), Collector("slow", make("s", 0.2), retry=LONG)
    ) as queue:
        results = await (await queue.get_publisher().send(Payload(0))).wait()
        assert [result.unwrap() for result in results] == ["quick"[0], "slow"[0]]
        assert seen == ["q1", "s1", "q2", "q3", "s2", "s3"]


async def test_a_router_that_only_selects_is_fine() -> None:
    """A SimpleRouter with another select() keeps retries; it is not asked again for them."""
    asked = 0

    class Choosing(SimpleRouter):
        def select(self, payload: Payload[Any]) -> list[Collector]:
            nonlocal asked
            asked += 1
            return [self.collectors["b"]]

    collectors = [Collector(key, handlers.succeed_at_async, retry=AT_ONCE) for key in ("a", "b")]
    async with running(*collectors, router=Choosing) as queue:
        results = await (await queue.get_publisher().send(Payload([3, "refuse"]))).wait()
        assert [(result.key, result.unwrap()[0]) for result in results] == [("b", 3)]
        assert asked == 1


@pytest.mark.parametrize("delivery", [Delivery.KEY, Delivery.TOPIC])
async def test_deliveries_keep_their_way(delivery: Delivery) -> None:
    """An event for one process collector of several is tried again there, and nowhere else."""
    collectors = [
        Collector("p", handlers.succeed_at, topics=["t"], retry=AT_ONCE),
        Collector("q", handlers.succeed_at_async, retry=AT_ONCE),
    ]
    async with running(*collectors) as queue, balanced_all_along(queue):
        payload = Payload([3, "refuse"], delivery, keys=["p"], topics=["t"])
        (result,) = await (await queue.get_publisher().send(payload)).wait()
        assert (result.key, result.unwrap()[0]) == ("p", 3)


async def test_a_retry_waits_in_no_consumer_and_no_worker() -> None:
    """While events wait for their next attempt, the one consumer and the one worker do other work."""
    collectors = [
        Collector("c", handlers.succeed_at_async, retry=LONG),
        Collector("p", handlers.succeed_at, retry=LONG),
    ]
    async with (
        running(*collectors, max_consumers=1, autoscale=False, consumer_shutdown_timeout=20) as queue,
        balanced_all_along(queue),
    ):
        publisher = queue.get_publisher()
        waiting = [await publisher.send(Payload([2, "refuse"])) for _ in range(5)]
        await until(lambda: queue.accounting().scheduled == 5, "all are scheduled")
        assert queue.accounting()[2:4] == (0, 0)
        for _ in range(3):
            assert (await (await publisher.send(Payload([1, "refuse"]))).wait()).first().ok()
        assert not any(event.is_done() for event in waiting)
        assert all(event.service_time() == 0 for event in waiting)
        await queue.shut_down_queue()  # which does not wait for a minute
        for event in waiting:
            assert all(result.ok() for result in await event.wait())


async def test_a_drained_end_waits_for_no_backoff() -> None:
    """What is scheduled when the end begins gets all its attempts at once; what fails then is final."""
    async with asyncio.timeout(BOUND):
        queue = CollectorQueue(
            [Collector("c", handlers.succeed_at_async, retry=LONG)], logging=False, consumer_shutdown_timeout=20
        )
        async with queue:
            publisher = queue.get_publisher()
            good = await publisher.send(Payload([4, "refuse"]))
            bad = await publisher.send(Payload([99, "refuse"]))
            await until(lambda: queue.accounting().scheduled == 2, "both are scheduled")
        assert (await good.wait()).first().unwrap()[0] == 4
        assert isinstance((await bad.wait()).first().err, ConnectionError)  # type: ignore[union-attr]
        assert [letter.reason for letter in queue.dead_letters] == ["exhausted"]
        balanced(queue)


async def test_what_is_scheduled_when_the_time_is_up_is_given_up() -> None:
    """At the end of consumer_shutdown_timeout, scheduled events end with QueueShutDown, as all others do."""
    begun = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        if payload.attempt > 1:
            begun.set()
            await asyncio.sleep(60)
        raise ConnectionError

    async with asyncio.timeout(BOUND):
        queue = CollectorQueue(
            [Collector("c", handler, retry=LONG)],
            logging=False,
            consumer_shutdown_timeout=0.2,
            max_consumers=1,
            autoscale=False,
        )
        async with queue:
            events = await queue.get_publisher().send_many(Payload(0) for _ in range(3))
            await until(lambda: queue.accounting().scheduled == 3, "all are scheduled")
        assert begun.is_set()
        for event in events:
            (result,) = await event.wait()
            assert isinstance(result.err, QueueShutDown)  # type: ignore[union-attr]
        assert not queue.dead_letters
        balanced(queue)


async def test_a_queue_that_starts_again_retries_again() -> None:
    """After an end and another start attempts wait as before."""
    queue = CollectorQueue([Collector("c", handlers.succeed_at_async, retry=AT_ONCE)], logging=False)
    for _ in range(2):
        async with asyncio.timeout(BOUND), queue:
            assert (await ask(queue, [3, "refuse"])).unwrap()[0] == 3


async def test_a_crash_counts_for_the_event_that_was_running_only() -> None:
    """Its own crash is an attempt of the event that ran; those that waited in the worker's hands have lost none."""
    async with running(Collector("c", handlers.succeed_at, retry=AT_ONCE)) as queue, balanced_all_along(queue):
        publisher = queue.get_publisher()
        others = await publisher.send_many(Payload([1, "refuse"]) for _ in range(20))
        victim = await publisher.send(Payload([3, "die once"]))
        others += await publisher.send_many(Payload([1, "refuse"]) for _ in range(20))
        assert (await victim.wait()).first().unwrap()[0] == 3
        for event in others:
            assert (await event.wait()).first().unwrap() == [1, None]


async def test_a_payload_that_kills_two_workers_is_quarantined() -> None:
    """It is not run a third time, however many attempts there are, and its letter names the signal."""
    policy = Retry(max_attempts=10, backoff=0.0)
    async with running(Collector("c", handlers.succeed_at, retry=policy)) as queue, balanced_all_along(queue):
        result = await ask(queue, [99, "die"])
        assert isinstance(result.err, WorkerCrashed)  # type: ignore[union-attr]
        (letter,) = queue.dead_letters
        assert (letter.reason, letter.attempts) == ("quarantined", 2)
        assert "SIGKILL" in letter.error
        assert (await ask(queue, [1, "refuse"])).unwrap() == [1, None]


@pytest.mark.parametrize("queue_type", QueueType)
async def test_every_order_keeps_what_comes_back(queue_type: QueueType) -> None:
    """Events that come back from the schedule are taken like any others, in every order."""
    collector = Collector("c", handlers.succeed_at_async, retry=AT_ONCE)
    async with running(collector, queue_type=queue_type, max_consumers=3) as queue, balanced_all_along(queue):
        events = await queue.get_publisher().send_many(
            Payload([1 + n % 4, "refuse"], priority=n % 3) for n in range(100)
        )
        assert [(await event.wait()).first().unwrap()[0] for event in events] == [1 + n % 4 for n in range(100)]


async def test_context_variables_stay_with_the_event() -> None:
    """A later attempt sees the sender's context variables, as the first one did."""
    from contextvars import ContextVar

    name: ContextVar[str] = ContextVar("name")

    async def handler(payload: Payload[Any], ctx: Context) -> str:
        if payload.attempt == 1:
            raise ConnectionError
        return name.get()

    async with running(Collector("c", handler, retry=AT_ONCE)) as queue:
        name.set("sender")
        event = await queue.get_publisher().send(Payload(0))
        name.set("somebody else")
        assert (await event.wait()).first().unwrap() == "sender"


async def test_waiting_for_all_waits_for_those_that_are_scheduled() -> None:
    """publisher.wait() returns when nothing is unfinished, later attempts included."""
    async with running(Collector("c", handlers.succeed_at_async, retry=Retry(3, 0.05))) as queue:
        event = await queue.get_publisher().send(Payload([3, "refuse"]))
        await queue.get_publisher().wait()
        assert event.is_done()
