"""Delivery: which collectors an event reaches, in what order results stand, and routers of one's own."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorDict,
    CollectorQueue,
    Context,
    Delivery,
    Error,
    Ok,
    Payload,
    Result,
    ResultList,
    Router,
    SimpleRouter,
)

BOUND = 10.0


def named(key: str, topics: Sequence[str] = ()) -> Collector:
    """Make a collector that answers with its key and the value."""

    async def processor(payload: Payload[Any], ctx: Context) -> str:
        return f"{key}{payload.value}"

    return Collector(key, processor, topics=topics)


def collectors() -> list[Collector]:
    return [named("a", ["odd"]), named("b", ["even"]), named("c", ["odd", "high"]), named("d", ["even", "high"])]


def values(results: Iterable[Result]) -> list[Any]:
    return [result.unwrap() for result in results]


async def routed(payload: Payload[Any], router: type[Router] = SimpleRouter, **options: Any) -> ResultList:
    """Send one payload through a queue of four collectors and return its results."""
    async with CollectorQueue(collectors(), router, logging=False, **options) as queue:
        event = await queue.get_publisher().send(payload)
        return await event.wait()


DELIVERIES: list[tuple[Payload[int], list[str]]] = [
    (Payload(1), ["a1", "b1", "c1", "d1"]),
    (Payload(1, Delivery.BROADCAST, keys=None, topics=None), ["a1", "b1", "c1", "d1"]),
    (Payload(1, keys=["b"]), ["b1"]),
    (Payload(1, keys=["b"], topics=[]), ["b1"]),
    (Payload(1, keys=[]), []),
    (Payload(1, topics=["even"]), ["b1", "d1"]),
    (Payload(1, keys=(), topics=["even"]), ["b1", "d1"]),
    (Payload(1, Delivery.KEY, keys=["b"]), ["b1"]),
    (Payload(1, Delivery.KEY, keys=["b"], topics=["odd"]), ["b1"]),
    (Payload(1, Delivery.KEY, keys=["d", "a", "d"]), ["a1", "d1"]),
    (Payload(1, Delivery.KEY, keys=["nobody", "c"]), ["c1"]),
    (Payload(1, Delivery.KEY, keys=["nobody"]), []),
    (Payload(1, Delivery.KEY, keys=[]), []),
    (Payload(1, Delivery.KEY), []),
    (Payload(1, Delivery.TOPIC, topics=["odd"]), ["a1", "c1"]),
    (Payload(1, Delivery.TOPIC, topics=["high", "odd", "high"]), ["a1", "c1", "d1"]),
    (Payload(1, Delivery.TOPIC, topics=["unheard", "even"]), ["b1", "d1"]),
    (Payload(1, Delivery.TOPIC, keys=["a"], topics=["unheard"]), []),
    (Payload(1, Delivery.TOPIC), []),
]


@pytest.mark.parametrize(("payload", "expected"), DELIVERIES)
async def test_a_payload_reaches_those_it_is_meant_for(payload: Payload[int], expected: list[str]) -> None:
    """Each addressed collector answers once, and the answers stand in the order of registration."""
    results = await routed(payload)
    assert type(results) is ResultList
    assert values(results) == expected


async def test_the_delivery_that_counts_is_the_one_when_the_event_is_handled() -> None:
    """set_delivery() works on a payload that is about to be sent."""
    payload = Payload(1)
    payload.set_delivery(Delivery.KEY, ["c"])
    assert values(await routed(payload)) == ["c1"]


async def test_an_event_without_a_recipient_is_done_with_an_empty_list() -> None:
    """Waiting for it ends, and first() says that there is no result."""
    results = await routed(Payload(1, Delivery.KEY, ["nobody"]))
    assert len(results) == 0
    assert results.first().is_error


async def test_a_queue_without_collectors_answers_with_empty_lists() -> None:
    """No collector is a legal, if quiet, configuration."""
    async with CollectorQueue([], logging=False) as queue:
        event = await queue.get_publisher().send(Payload(1))
        assert len(await event.wait()) == 0


async def test_collectors_may_come_in_any_iterable() -> None:
    """A tuple of collectors does as well as a list."""
    async with CollectorQueue(tuple(collectors()), logging=False) as queue:  # type: ignore[arg-type, unused-ignore]
        event = await queue.get_publisher().send(Payload(1))
        assert len(await event.wait()) == 4


async def test_results_stand_in_order_however_long_each_takes() -> None:
    """The first registered stands first even if it answers last."""
    turns = [asyncio.Event() for _ in range(4)]
    turns[3].set()

    def chained(index: int) -> Collector:
        async def processor(payload: Payload[Any], ctx: Context) -> int:
            await turns[index].wait()
            turns[index - 1].set()
            return index

        return Collector(str(index), processor)

    async with CollectorQueue([chained(i) for i in range(4)], logging=False) as queue:
        event = await queue.get_publisher().send(Payload(1))
        assert values(await event.wait()) == [0, 1, 2, 3]


async def test_the_collectors_of_one_payload_run_at_the_same_time() -> None:
    """Each of them may wait for all the others."""
    barrier = asyncio.Barrier(3)

    async def meet(payload: Payload[Any], ctx: Context) -> None:
        await barrier.wait()

    queue = CollectorQueue([Collector(key, meet) for key in "abc"], max_consumers=1, logging=False)
    async with asyncio.timeout(BOUND), queue:
        event = await queue.get_publisher().send(Payload(1))
        assert [result.ok() for result in await event.wait()] == [True] * 3


async def test_one_that_fails_does_not_hide_the_others() -> None:
    """The results of the others are all there, beside the error, at their places."""

    async def fail(payload: Payload[Any], ctx: Context) -> None:
        raise ValueError("boom")

    mixed = [named("a"), Collector("b", fail), named("c")]
    async with CollectorQueue(mixed, logging=False) as queue:
        event = await queue.get_publisher().send(Payload(1))
        first, second, third = await event.wait()
    assert (first.unwrap(), third.unwrap()) == ("a1", "c1")
    assert isinstance(second, Error)
    assert repr(second.err) == "ValueError('boom')"


async def test_collectors_may_return_one_shared_result() -> None:
    """A module's constant Ok("done") may be returned by every handler, as often as it likes."""
    done = Ok("done")

    async def processor(payload: Payload[Any], ctx: Context) -> Ok[str]:
        return done

    async with CollectorQueue([Collector(key, processor) for key in "abc"], logging=False) as queue:
        events = [await queue.get_publisher().send(Payload(i)) for i in range(3)]
        for event in events:
            assert values(await event.wait()) == ["done"] * 3


async def test_a_simple_router_works_on_its_own() -> None:
    """A router is a class called with the dict of collectors, and can be tested without a queue."""
    by_key = {collector.key: collector for collector in collectors()}
    router = SimpleRouter(by_key)
    assert values(await router.handle_event(Payload(1, Delivery.TOPIC, topics=["high"]))) == ["c1", "d1"]
    assert dict(router.collectors) == by_key
    assert len(await SimpleRouter().handle_event(Payload(1))) == 0


def test_get_topic_handlers_maps_topics_to_collectors() -> None:
    """For every topic there is the collection of those who subscribed to it."""
    by_key = {collector.key: collector for collector in collectors()}
    handlers = SimpleRouter(by_key).get_topic_handlers(by_key)
    found = {topic: sorted(collector.key for collector in handlers[topic]) for topic in handlers}
    assert found == {"odd": ["a", "c"], "even": ["b", "d"], "high": ["c", "d"]}


async def test_async_collector_process_runs_the_collectors_it_is_given() -> None:
    """It takes a list or a set, and answers for each of them."""
    members = collectors()[:2]
    router = SimpleRouter({collector.key: collector for collector in members})
    for given in (members, set(members)):
        results = await router.async_collector_process(Payload(1), given)  # type: ignore[arg-type, unused-ignore]
        assert sorted(values(results)) == ["a1", "b1"]


def test_gather_results_makes_a_result_list() -> None:
    """Results are kept as they are, in order; what a collector should not have answered is made a result."""
    given = [Ok(1), Error("bad"), 5]
    results = SimpleRouter({}).gather_results(given)
    assert type(results) is ResultList
    assert results[:2] == given[:2]
    assert isinstance(results[2], (Ok, Error))


async def test_a_router_of_ones_own_decides_who_gets_an_event() -> None:
    """A subclass of Router sees the collectors in registration order and returns the results."""

    class First(Router):
        async def handle_event(self, payload: Payload[Any]) -> ResultList:
            key, collector = next(iter(self.collectors.items()))
            assert key == collector.key
            return ResultList([Ok(await collector.process(payload))])

    assert values(await routed(Payload(1), First)) == ["a1"]


async def test_a_router_may_have_state_and_a_constructor() -> None:
    """A subclass may do its own set-up, once for each queue, from the dict of collectors."""
    made: list[Router] = []

    class RoundRobin(Router):
        def __init__(self, collectors: CollectorDict | None = None) -> None:
            super().__init__(collectors)
            made.append(self)
            self.turn = 0

        async def handle_event(self, payload: Payload[Any]) -> ResultList:
            members = list(self.collectors.values())
            self.turn += 1
            return ResultList([Ok(await members[(self.turn - 1) % len(members)].process(payload))])

    queue = CollectorQueue(collectors(), router=RoundRobin, max_consumers=1, logging=False)
    async with queue:
        events = [await queue.get_publisher().send(Payload(1)) for _ in range(5)]
        answers = [values(await event.wait()) for event in events]
    assert answers == [["a1"], ["b1"], ["c1"], ["d1"], ["a1"]]
    assert len(made) == 1


async def test_a_subclass_may_extend_handle_event() -> None:
    """It changes what it likes and leaves the rest to super()."""

    class Logged(SimpleRouter):
        async def handle_event(self, payload: Payload[Any]) -> ResultList:
            if payload.value == 0:
                return ResultList([Error("zero")])
            return await super().handle_event(payload)

    assert (await routed(Payload(0), Logged)).first().is_error
    assert values(await routed(Payload(1, Delivery.KEY, ["a"]), Logged)) == ["a1"]


async def test_a_subclass_may_choose_the_handlers_of_topics() -> None:
    """What get_topic_handlers() returns decides who gets a TOPIC event."""

    class Curated(SimpleRouter):
        def get_topic_handlers(self, collectors: CollectorDict) -> Any:
            handlers = super().get_topic_handlers(collectors)
            handlers["first"].add(collectors["a"])
            handlers["last"] = {collectors["c"], collectors["d"]}
            return handlers

    for topic, expected in {"first": ["a1"], "last": ["c1", "d1"], "odd": ["a1", "c1"]}.items():
        assert values(await routed(Payload(1, Delivery.TOPIC, topics=[topic]), Curated)) == expected


@pytest.mark.parametrize("payload", [Payload(1), Payload(1, Delivery.TOPIC, topics=["odd"])], ids=["all", "topic"])
async def test_a_subclass_may_filter_results(payload: Payload[int]) -> None:
    """What gather_results() returns is what the waiter gets."""

    class Short(SimpleRouter):
        def gather_results(self, results: Sequence[Any]) -> ResultList:
            return ResultList(super().gather_results(results).results[:1])

    assert values(await routed(payload, Short)) == ["a1"]


@pytest.mark.parametrize("payload", [Payload(1), Payload(1, Delivery.TOPIC, topics=["odd"])], ids=["all", "topic"])
async def test_a_subclass_may_choose_among_the_collectors(payload: Payload[int]) -> None:
    """What async_collector_process() does with the collectors it is given is what happens."""

    class WithoutA(SimpleRouter):
        async def async_collector_process(self, payload: Payload[Any], collectors: Any) -> ResultList:
            chosen = {collector for collector in collectors if collector.key != "a"}
            return await super().async_collector_process(payload, chosen)

    assert "a1" not in values(await routed(payload, WithoutA))
    assert "c1" in values(await routed(payload, WithoutA))


async def test_a_router_that_returns_nothing_is_one_error() -> None:
    """An event ends even if its router forgot to return the results: waiters get the reason, as a ResultList."""

    class Forgetful(SimpleRouter):
        async def handle_event(self, payload: Payload[Any]) -> ResultList:
            await super().handle_event(payload)
            return None  # type: ignore[return-value]

    async with asyncio.timeout(BOUND):
        results = await routed(Payload(1), Forgetful)
    assert isinstance(results, ResultList)
    assert [result.is_error for result in results] == [True]


async def test_an_exception_in_a_router_is_one_error_and_the_queue_goes_on() -> None:
    """The event is done with the reason, and the next one is handled as ever."""

    class Picky(SimpleRouter):
        async def handle_event(self, payload: Payload[Any]) -> ResultList:
            if payload.value < 0:
                raise LookupError("no route")
            return await super().handle_event(payload)

    async with CollectorQueue([named("a")], Picky, max_consumers=1, logging=False) as queue:
        events = [await queue.get_publisher().send(Payload(value)) for value in (-1, 1)]
        (failed,) = await events[0].wait()
        assert isinstance(failed, Error)
        assert "no route" in str(failed.err)
        assert values(await events[1].wait()) == ["a1"]
