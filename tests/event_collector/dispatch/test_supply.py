"""Supply: which events workers get, how many, and in which order with those of the event loop."""

from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, Delivery, Payload, SimpleRouter
from event_collector.dispatch.sent_values import SentValues
from event_collector.dispatch.supply import Supply
from event_collector.handlers.delivery import DeliveryPlan
from tests.event_collector.dispatch.parts import Parts, handle
from tests.event_collector.sample_attempts import echo


class Workers:
    """Workers that take what they are given."""

    def __init__(self, room: int, *, is_idle: bool = False) -> None:
        self.room, self.is_idle = room, is_idle
        self.taken: list[list[int]] = []

    def submit(self, batch: list[tuple[CollectorEvent, Collector]]) -> None:
        self.taken.append([event.id for event, _ in batch])
        self.room -= len(batch)
        self.is_idle = False


class Case:
    """A supply with its parts; events for workers have the topic "far", those of several collectors "both"."""

    def __init__(self, room: int, *, is_idle: bool = False, permits: int = 9) -> None:
        self.parts = Parts(9)
        self.parts.permits.take_many(9 - permits)
        self.workers = Workers(room, is_idle=is_idle)
        far = Collector("far", echo, mode="process", topics=["far", "both"])
        by_key = {"far": far, "here": Collector("here", handle, topics=["both"])}
        parts = self.parts
        self.supply = Supply(
            self.workers,
            DeliveryPlan(SimpleRouter(by_key), by_key),
            parts.backlogs,
            parts.permits,
            parts.gate,
            parts.chunks,
            SentValues(),
        )

    def event(self, number: int, topic: str = "far") -> CollectorEvent:
        event = self.parts.event(number)
        event.replace_payload(Payload[Any](number, Delivery.TOPIC, topics=[topic]))
        return event

    def queue(self, *numbers: int, topic: str = "far") -> None:
        for number in numbers:
            self.parts.backlogs.remote.push(self.event(number, topic))


def test_workers_get_as_many_as_they_have_room_for() -> None:
    """In the order of the backlog; each takes a permit, and leaves its place in the queue."""
    case = Case(3)
    case.queue(1, 2, 3, 4)
    assert not case.supply.hand_out()
    assert case.workers.taken == [[1, 2, 3]]
    assert case.parts.permits.busy == 3
    assert case.parts.gate.room() == 8
    assert repr(case.supply) == "<Supply room=0 waiting=1>"


@pytest.mark.parametrize("permits", [0, 2])
def test_workers_get_no_more_than_there_are_permits(permits: int) -> None:
    """Room of workers does not make permits."""
    case = Case(5, permits=permits)
    case.queue(1, 2, 3)
    case.supply.hand_out()
    assert sum(map(len, case.workers.taken)) == permits


def test_an_event_of_several_collectors_is_left_to_the_event_loop() -> None:
    """Those behind it wait for it: the loop takes it while workers have room."""
    case = Case(5)
    case.queue(1)
    case.queue(2, topic="both")
    case.queue(3)
    assert case.supply.hand_out()
    assert case.workers.taken == [[1]]
    assert case.supply.next_backlog() is case.parts.backlogs.remote
    assert case.parts.backlogs.remote.take().id == 2
    case.supply.hand_out()
    assert case.workers.taken == [[1], [3]]


def test_older_events_of_the_loop_come_first() -> None:
    """As long as there are not enough permits for them and one more."""
    case = Case(5, permits=2)
    case.parts.backlogs.here.push(case.event(1, "both"))
    case.parts.backlogs.here.push(case.event(2, "both"))
    case.queue(3)
    case.supply.hand_out()
    assert case.workers.taken == []
    assert case.supply.next_backlog() is case.parts.backlogs.here
    case.parts.permits.give_back()
    case.supply.hand_out()
    assert case.workers.taken == [[3]]


def test_an_idle_worker_gets_an_event_directly() -> None:
    """It need not pass through a backlog."""
    case = Case(1, is_idle=True)
    assert case.supply.hand_over(case.event(1))
    assert case.workers.taken == [[1]]
    assert case.parts.permits.busy == 1
    assert case.parts.gate.room() == 9


@pytest.mark.parametrize("reason", ["busy worker", "no permit", "older event", "several collectors"])
def test_an_event_waits_if_something_is_in_its_way(reason: str) -> None:
    """Nothing changes then."""
    case = Case(1, is_idle=reason != "busy worker", permits=0 if reason == "no permit" else 9)
    if reason == "older event":
        case.parts.backlogs.here.push(case.event(1, "both"))
    busy = case.parts.permits.busy
    assert not case.supply.hand_over(case.event(2, "both" if reason == "several collectors" else "far"))
    assert case.workers.taken == []
    assert case.parts.permits.busy == busy


def test_another_plan_counts_from_then_on() -> None:
    """Collectors may move to the event loop while events wait."""
    case = Case(5)
    case.queue(1)
    here = {"here": Collector("here", handle, topics=["far"])}
    case.supply.follow(DeliveryPlan(SimpleRouter(here), here))
    case.supply.hand_out()
    assert case.workers.taken == []
