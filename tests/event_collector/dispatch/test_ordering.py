"""Properties that hold for all inputs: the order of events, who is reached, and that nothing is lost."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector import Collector, CollectorQueue, Context, Delivery, Error, Ok, Payload, QueueType, SimpleRouter
from tests.event_collector.sample_handlers import number_of_call

BOUND = 10.0
DEFAULT_PRIORITY = 2

thorough = settings(max_examples=60, deadline=None, derandomize=True)
priorities = st.none() | st.integers(-2, 5)
queue_types = st.sampled_from(QueueType)

Waiting = list[tuple[int, int | None]]


def next_index(queue_type: QueueType, waiting: Waiting) -> int:
    """Say which of the waiting (number, priority) is due, by the definition of the queue's type."""
    if queue_type is QueueType.FIFO:
        return 0
    if queue_type is QueueType.LIFO:
        return len(waiting) - 1
    ranked = [DEFAULT_PRIORITY if priority is None else priority for _, priority in waiting]
    return ranked.index(min(ranked))


def expected_order(queue_type: QueueType, waiting: Waiting) -> list[int]:
    """Return the numbers in the order in which they must be processed."""
    waiting = list(waiting)
    return [waiting.pop(next_index(queue_type, waiting))[0] for _ in range(len(waiting))]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0)


@thorough
@given(queue_types, st.lists(priorities, max_size=12))
def test_waiting_events_are_processed_in_the_order_of_the_queue(
    queue_type: QueueType, given_priorities: list[int | None]
) -> None:
    """One consumer takes first-in, last-in, or most urgent first, and equals in the order sent."""
    order: list[int] = []

    async def note(payload: Payload[int], ctx: Context) -> None:
        order.append(payload.value)

    async def main() -> None:
        queue = CollectorQueue(
            [Collector("a", note)],
            max_consumers=1,
            queue_type=queue_type,
            default_priority=DEFAULT_PRIORITY,
            logging=False,
        )
        for number, priority in enumerate(given_priorities):
            await queue.get_publisher().send(Payload(number, priority=priority))
        async with queue:
            await queue.get_publisher().wait()

    asyncio.run(main())
    assert order == expected_order(queue_type, list(enumerate(given_priorities)))


class Stepper:
    """One consumer that is led from event to event, beside a model of what it must take next."""

    def __init__(self, queue_type: QueueType) -> None:
        self.queue_type = queue_type
        self.taken: list[int] = []
        self.expected: list[int] = []
        self.waiting: Waiting = []
        self.release = asyncio.Semaphore(0)
        self.sent = 0
        self.finished = 0
        self.queue = CollectorQueue(
            [Collector("a", self.handle)],
            max_consumers=1,
            queue_type=queue_type,
            default_priority=DEFAULT_PRIORITY,
            logging=False,
        )

    async def handle(self, payload: Payload[int], ctx: Context) -> None:
        self.taken.append(payload.value)
        await self.release.acquire()

    async def send(self, priority: int | None) -> None:
        self.waiting.append((self.sent, priority))
        await self.queue.get_publisher().send(Payload(self.sent, priority=priority))
        self.sent += 1
        await self.settle()

    async def finish(self) -> None:
        if self.finished < len(self.taken):
            self.finished += 1
            self.release.release()
            await self.settle()

    async def settle(self) -> None:
        """Let the model take what is due, and wait until the queue has done so too."""
        if self.finished == len(self.expected) and self.waiting:
            self.expected.append(self.waiting.pop(next_index(self.queue_type, self.waiting))[0])
        await until(lambda: len(self.taken) >= len(self.expected))


FINISH = "finish"


@thorough
@given(queue_types, st.lists(st.just(FINISH) | priorities, max_size=25))
def test_the_next_event_is_chosen_when_a_consumer_becomes_free(
    queue_type: QueueType, steps: Sequence[str | int | None]
) -> None:
    """Events may arrive at any time between those handled: the choice is among all that wait then."""

    async def main() -> Stepper:
        stepper = Stepper(queue_type)
        async with stepper.queue:
            for step in steps:
                await (stepper.finish() if isinstance(step, str) else stepper.send(step))
            while stepper.finished < stepper.sent:
                await stepper.finish()
        return stepper

    stepper = asyncio.run(main())
    assert stepper.taken == stepper.expected


names = st.sampled_from(["a", "b", "c", "d", "e"])
some_names = st.lists(names, max_size=6)
subscriptions = st.dictionaries(names, st.lists(st.sampled_from(["t", "u", "v"]), max_size=3))
topics = st.lists(st.sampled_from(["t", "u", "v", "unheard"]), max_size=4)


@thorough
@given(subscriptions, st.sampled_from(Delivery), some_names, topics)
def test_each_addressed_collector_is_reached_once_in_registration_order(
    subscribed: dict[str, list[str]], delivery: Delivery, keys: list[str], wanted: list[str]
) -> None:
    """Whatever is registered and whatever is addressed, with doubles and unknown names."""

    def collector(key: str) -> Collector:
        async def processor(payload: Payload[None], ctx: Context) -> str:
            return key

        return Collector(key, processor, topics=subscribed[key])

    def addressed(key: str) -> bool:
        if delivery is Delivery.KEY:
            return key in keys
        return delivery is Delivery.BROADCAST or not set(wanted).isdisjoint(subscribed[key])

    router = SimpleRouter({key: collector(key) for key in subscribed})
    payload = Payload(
        None, delivery, keys if delivery is Delivery.KEY else None, wanted if delivery is Delivery.TOPIC else None
    )
    results = asyncio.run(router.handle_event(payload))
    assert [result.unwrap() for result in results] == [key for key in subscribed if addressed(key)]


outcomes = st.sampled_from(["value", "ok", "error", "raise"])


@thorough
@given(
    queue_types,
    st.booleans(),
    st.integers(1, 4),
    st.lists(st.tuples(outcomes, st.integers(0, 3), priorities), max_size=20),
)
def test_every_event_is_handled_once_and_gets_its_own_result(
    queue_type: QueueType, autoscale: bool, most: int, events: list[tuple[str, int, int | None]]
) -> None:
    """However handlers end, and however they interleave, each result belongs to its event."""
    handled: list[int] = []
    inside: list[int] = []

    async def handle(payload: Payload[tuple[int, str, int]], ctx: Context) -> Any:
        number, outcome, turns = payload.value
        handled.append(number)
        inside.append(number)
        assert len(inside) <= most
        for _ in range(turns):
            await asyncio.sleep(0)
        inside.remove(number)
        if outcome == "raise":
            raise ValueError(number)
        return {"value": number, "ok": Ok(number), "error": Error(number)}[outcome]

    async def main() -> list[Any]:
        async with CollectorQueue(
            [Collector("a", handle)], autoscale=autoscale, max_consumers=most, queue_type=queue_type, logging=False
        ) as queue:
            sent = [
                await queue.get_publisher().send(Payload((number, outcome, turns), priority=priority))
                for number, (outcome, turns, priority) in enumerate(events)
            ]
        return [event.get_result() for event in sent]

    results = asyncio.run(main())
    shown = [(result.is_error, str(result.err if result.is_error else result.value)) for (result,) in results]
    assert shown == [(outcome in {"error", "raise"}, str(i)) for i, (outcome, _, _) in enumerate(events)]
    assert sorted(handled) == list(range(len(events)))


async def test_an_urgent_event_waits_for_little_of_what_workers_hold() -> None:
    """It goes before all that wait in the program; of events of 4 ms a worker holds the two that make 8 ms, or so."""
    collector = Collector("only", number_of_call, mode="process")
    options: dict[str, Any] = {"autoscale": False, "max_workers": 1, "queue_type": QueueType.PRIORITY}
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False, **options) as queue:
        publisher = queue.get_publisher()
        events = [await publisher.send(Payload(0.004, priority=5)) for _ in range(100)]
        await events[39].wait()  # by now the pool knows how long they take
        before = sum(event.is_done() for event in events)
        urgent = await publisher.send(Payload(0.0, priority=1))
        call = (await urgent.wait()).first().unwrap()
        assert call <= before + 4
