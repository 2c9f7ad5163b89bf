"""Arguments are checked where they are given: a wrong one is an error at once that names it."""

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    Journal,
    Payload,
    Retry,
    RetryLater,
    ScaledProcessPoolExecutor,
    WorkerLimits,
)
from event_collector.messagebus import Message, MessageBus
from event_collector.sources.feed import Feed
from event_collector.sources.jetstream import JetStreamSource
from event_collector.sources.redis_stream import RedisStreamSource
from event_collector.testing import ManualClock
from tests.event_collector.modes import Log

BOUND = 30.0
NOT_SECONDS = ["5", math.nan, math.inf, 0, -1, True, [], timedelta(seconds=1), 10**400, 1e300]
NOT_CALLABLE = [5, "f", {}, True]
HUGE = 10**400


async def echo(value: Any) -> Any:
    return value


def collector_of(**options: Any) -> Collector:
    return Collector("orders", echo, **options)


def queue_of(**options: Any) -> CollectorQueue:
    return CollectorQueue([collector_of()], logging=False, **options)


WRONG: dict[str, tuple[Callable[..., Any], dict[str, Any], list[Any]]] = {
    "timeout": (collector_of, {}, NOT_SECONDS),
    "ctx": (collector_of, {}, [{}, {"a": 1}, 5, "x"]),
    "lifecycle": (collector_of, {}, NOT_CALLABLE),
    "topics": (collector_of, {}, ["t", 5, [1], b"t"]),
    "mode": (collector_of, {}, [None, 5, "threads", []]),
    "payload_type": (collector_of, {}, ["Order", 5, [int], {}, object()]),
    "result_type": (collector_of, {}, ["Receipt", 5, [int], {}, ...]),
    "retry": (collector_of, {}, [3, True, {}]),
    "priority": (Payload, {"value": 1}, [True, "1", math.nan, []]),
    "data": (Context, {}, [5, [1], "x", [("a", 1)]]),
    "delay": (RetryLater, {}, ["5", math.nan, math.inf, -1, True]),
    "backoff": (Retry, {}, ["5", math.nan, math.inf, -1, True, HUGE]),
    "max_attempts": (Retry, {}, [0, 2.5, True, "3"]),
    "types": (Journal, {"path": "j"}, [None, 5, "Order"]),
    "on_replay": (Journal, {"path": "j"}, NOT_CALLABLE),
    "acknowledge": (Journal, {"path": "j"}, [None, 1, "yes"]),
    "servers": (JetStreamSource, {"stream": "s"}, [None, 5, "", [], [5]]),
    "subject": (JetStreamSource, {"servers": "nats://x", "stream": "s"}, [5, ""]),
    "options": (JetStreamSource, {"servers": "nats://x", "stream": "s"}, [5, "tls", []]),
    "url": (RedisStreamSource, {"stream": "s"}, [None, 5, ""]),
    "dead_letters": (RedisStreamSource, {"url": "redis://x", "stream": "s"}, [5, ""]),
    "patience": (ManualClock, {}, NOT_SECONDS),
    "collectors": (CollectorQueue, {}, [None, 5, "orders", {"orders": collector_of()}, ["orders"], [int]]),
    "router": (queue_of, {}, [4, "SimpleRouter", int, object(), None]),
    "max_consumers": (queue_of, {}, [0, math.inf, HUGE, "5", True]),
    "max_threads": (queue_of, {}, [2.5, 0, True]),
    "max_queue_size": (queue_of, {}, [-1, 0.5, math.inf]),
    "max_workers": (queue_of, {}, [0, -1, 1.5]),
    "journal": (queue_of, {}, [5, b"path", ""]),
    "monitor": (queue_of, {}, [5, b"path", ""]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_refused_where_it_is_given(name: str) -> None:
    """Wrong kinds, ranges, NaN, infinity, a bool for a number: a ConfigError, and nothing is made."""
    make, others, values = WRONG[name]
    for value in values:
        with pytest.raises(ConfigError) as caught:
            make(**others, **{name: value})
        assert len(str(caught.value)) > 10, value


@pytest.mark.parametrize("part", ["queue", "source", "retry", "to_payload", "on_finished", "max_in_flight"])
def test_a_feed_checks_its_parts(part: str) -> None:
    """What is no queue, source, policy, function or number is refused before the feed runs."""
    right = {"queue": queue_of(), "source": RedisStreamSource("redis://x", "s")}
    for value in (5, "x", True, {}):
        if part == "max_in_flight" and value == 5:
            continue
        with pytest.raises(ConfigError):
            Feed(**(right | {part: value}))


def test_a_misplaced_option_is_told_by_what_it_is_taken_for() -> None:
    for one in (collector_of(), echo):
        with pytest.raises(ConfigError, match=r"router is a class .* by name, such as max_consumers=4"):
            CollectorQueue([one], 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["2", 2.5, True, None, []])
def test_sizes_and_times_of_an_executor_are_checked(value: Any) -> None:
    """None is the default of `max_workers`; nothing else but an int is a size, and no text is a time."""
    with ScaledProcessPoolExecutor(1) as executor:
        if value is not None:
            with pytest.raises(TypeError, match="max_workers"):
                ScaledProcessPoolExecutor(value)
        with pytest.raises(TypeError, match="max_workers"):
            executor.resize(value)
        if value != 2.5:
            with pytest.raises(ValueError, match="timeout"):
                executor.submit_with_timeout(value, len, "abc")
    with pytest.raises(ValueError, match="open_files"):
        WorkerLimits(open_files=0)


def test_a_handler_of_the_message_bus_can_be_called() -> None:
    """It is refused when it is registered, not when the first message comes."""
    with pytest.raises(TypeError, match="async"):
        MessageBus().add_msg_handler(Message, 5)  # type: ignore[arg-type]


# -- sending --


@pytest.mark.parametrize("deadline", NOT_SECONDS)
@pytest.mark.parametrize("method", ["send", "send_nowait", "send_many"])
async def test_a_wrong_deadline_is_refused(method: str, deadline: Any) -> None:
    """In every way to send; nothing is accepted."""
    queue = queue_of()
    payload: Any = [Payload(1)] if method == "send_many" else Payload(1)

    async def send() -> None:
        outcome = getattr(queue.get_publisher(), method)(payload, deadline=deadline)
        if method != "send_nowait":
            await outcome

    with pytest.raises(ConfigError, match="deadline takes a number of seconds above 0"):
        await send()
    assert queue.accounting().accepted == 0


async def test_what_is_sent_or_waited_for_is_checked() -> None:
    """One payload is not many, and a coroutine that was not awaited is no event."""
    publisher = queue_of().get_publisher()
    for payloads in (Payload(1), 5, None):
        with pytest.raises(ConfigError, match=r"send_many\(\) takes an iterable of payloads"):
            await publisher.send_many(payloads)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="send_many"):
        await publisher.send([Payload(1)])  # type: ignore[arg-type]
    event = publisher.send_nowait(Payload(1))
    with pytest.raises(ConfigError, match=r"as_completed\(\) takes an iterable of events"):
        await anext(publisher.as_completed(event))  # type: ignore[arg-type]
    missed = publisher.send(Payload(1))
    with pytest.raises(ConfigError, match="the events that `await send"):
        await anext(publisher.as_completed([missed]))  # type: ignore[list-item]
    missed.close()


@pytest.mark.parametrize("mode", ["coroutine", "process"])
@pytest.mark.parametrize("options", [{}, {"max_queue_size": 1}], ids=["unbounded", "bounded"])
@pytest.mark.parametrize("method", ["send", "send_nowait", "send_many"])
async def test_another_thread_is_told_how_to_send(method: str, options: dict[str, Any], mode: Any) -> None:
    """It is refused before anything changes; the advice works."""
    collector = collector_of(mode=mode)
    async with asyncio.timeout(BOUND), CollectorQueue([collector], log=Log(), **options) as queue:
        publisher = queue.get_publisher()

        def send_there() -> None:
            async def send() -> None:
                outcome = getattr(publisher, method)([Payload(1)] if method == "send_many" else Payload(1))
                if method != "send_nowait":
                    await outcome

            asyncio.run(send())

        with pytest.raises(ConfigError, match="run_coroutine_threadsafe"):
            await asyncio.to_thread(send_there)
        assert queue.accounting().accepted == 0
        assert queue.room() == options.get("max_queue_size", math.inf)

        def advised() -> Any:
            assert queue.loop is not None
            return asyncio.run_coroutine_threadsafe(publisher.send(Payload(1)), queue.loop).result(BOUND)

        event = await asyncio.to_thread(advised)
        assert (await event.wait()).first().unwrap() == 1


async def test_a_dead_letter_is_one_of_the_queue() -> None:
    """Its id alone is not enough."""
    queue = queue_of()
    with pytest.raises(ConfigError, match="dead letter"):
        queue.dead_letters.drop(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dead letter"):
        await queue.dead_letters.replay("5")  # type: ignore[arg-type]
