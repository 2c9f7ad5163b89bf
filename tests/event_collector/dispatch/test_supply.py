"""Supply: which events workers get, how many, and in which order with those of the event loop."""

from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, Delivery, Payload, QueueType, SimpleRouter
from event_collector.dispatch.sent_values import SentValues
from event_collector.dispatch.supply import Supply
from event_collector.dispatch.worker_line import WorkerLine
from event_collector.events.backlog import Backlogs
from event_collector.handlers.delivery import SEVERAL, DeliveryPlan
from event_collector_workers.environment import DEFAULT_GROUP
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
            {DEFAULT_GROUP: self.workers},
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

    def line(self) -> WorkerLine:
        line = self.supply.line_of(Payload(None, Delivery.TOPIC, topics=["far"]))
        assert line is not None
        return line

    def queue(self, *numbers: int, topic: str = "far") -> None:
        for number in numbers:
            self.parts.backlogs.of_groups[DEFAULT_GROUP].push(self.event(number, topic))


def test_workers_get_as_many_as_they_have_room_for() -> None:
    """In the order of the backlog; each takes a permit, and leaves its place in the queue."""
    case = Case(3)
    case.queue(1, 2, 3, 4)
    assert not case.supply.hand_out()
    assert case.workers.taken == [[1, 2, 3]]
    assert case.parts.permits.busy == 3
    assert case.parts.gate.room() == 8
    assert repr(case.supply) == "<Supply {'default': <WorkerLine room=0 waiting=1>}>"


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
    assert case.supply.next_backlog() is case.parts.backlogs.of_groups[DEFAULT_GROUP]
    assert case.parts.backlogs.of_groups[DEFAULT_GROUP].take().id == 2
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
    assert case.line().hand_over(case.event(1))
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
    assert not case.line().hand_over(case.event(2, "both" if reason == "several collectors" else "far"))
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


class Groups(Case):
    """A supply of two worker groups, with collectors of their own: "far" and "gpu"; "all" goes to both."""

    def __init__(self, room: int, gpu_room: int, *, permits: int = 9) -> None:
        super().__init__(room, permits=permits)
        self.gpu = Workers(gpu_room)
        parts = self.parts
        parts.backlogs = Backlogs(QueueType.FIFO, parts.ending.cancel_waiting, [DEFAULT_GROUP, "gpu"])
        by_key = {
            "far": Collector("far", echo, mode="process", topics=["far", "all"]),
            "gpu": Collector("gpu", echo, mode="process", topics=["gpu", "all"], workers="gpu"),
        }
        self.plan = DeliveryPlan(SimpleRouter(by_key), by_key)
        self.supply = Supply(
            {DEFAULT_GROUP: self.workers, "gpu": self.gpu},
            self.plan,
            parts.backlogs,
            parts.permits,
            parts.gate,
            parts.chunks,
            SentValues(),
        )

    def put(self, number: int, topic: str) -> None:
        event = self.event(number, topic)
        self.parts.backlogs.at(self.plan.line_of(event.payload)).push(event)


def test_a_full_group_keeps_no_other_waiting() -> None:
    """Each group has a backlog, whose events wait for room in that group only."""
    case = Groups(0, 2)
    for number in range(1, 7):
        case.put(number, "far" if number < 4 else "gpu")
    case.supply.hand_out()
    assert (case.workers.taken, case.gpu.taken) == ([], [[4, 5]])
    case.workers.room = 9
    case.supply.hand_out()
    assert (case.workers.taken, case.gpu.taken) == ([[1, 2, 3]], [[4, 5]])


@pytest.mark.parametrize("permits", [1, 2, 3, 4])
def test_groups_share_scarce_permits_in_the_order_of_their_events(permits: int) -> None:
    """The oldest events get them, whichever group they are for."""
    case = Groups(9, 9, permits=permits)
    for number in range(1, 9):
        case.put(number, "gpu" if number in (1, 4) else "far")
    case.supply.hand_out()
    taken = [number for batch in case.workers.taken + case.gpu.taken for number in batch]
    assert sorted(taken) == list(range(1, permits + 1))


def test_an_event_of_several_groups_waits_until_all_have_room() -> None:
    """The event loop delivers it then, in its turn among the other events."""
    case = Groups(9, 0)
    case.put(1, "all")
    assert not case.supply.hand_out()
    assert case.supply.next_backlog() is case.parts.backlogs.here
    case.gpu.room = 1
    assert case.supply.hand_out()
    assert case.supply.next_backlog().take().id == 1
    assert (case.workers.taken, case.gpu.taken) == ([], [])


def test_events_of_a_group_wait_where_they_belong() -> None:
    """The line of a payload is that of its collectors, for a router of the application that of all groups."""
    case = Groups(1, 1)
    lines = {topic: case.plan.line_of(case.event(1, topic).payload) for topic in ("far", "gpu", "all", "none")}
    assert lines == {"far": DEFAULT_GROUP, "gpu": "gpu", "all": SEVERAL, "none": None}
    assert case.plan.line_of(Payload(1)) == SEVERAL

    class OwnRouter(SimpleRouter):
        """Sees every payload."""

    plan = DeliveryPlan(OwnRouter(case.plan.collectors), case.plan.collectors)
    assert plan.line_of(case.event(1, "gpu").payload) == SEVERAL
