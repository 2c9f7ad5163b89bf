"""Adaptive collectors: the queue finds out where a handler belongs, and moves it there."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Delivery, Error, Payload, QueueType
from event_collector.events.backlog import Backlogs
from event_collector.publisher import CollectorEvent
from event_collector_workers.autoscaler import Plan, Readings, Tier
from event_collector_workers.environment import DEFAULT_GROUP
from tests.event_collector.modes import BOUND, Log, balanced
from tests.event_collector.tiers import sample_adaptive as handlers

HERE = os.getpid()


class ToAndFro:
    """A law that moves every adaptive collector each time it is asked."""

    def __init__(self, consumers: int) -> None:
        self.consumers = consumers
        self.moves = 0

    def decide(self, readings: Readings) -> Plan:
        self.moves += 1
        places = {
            one.key: Tier.COROUTINE if one.tier is Tier.PROCESS else Tier.PROCESS
            for one in readings.collectors
            if one.adaptive
        }
        return Plan(consumers=self.consumers, workers=2, consumer_ceiling=self.consumers, placement=places)


async def send_across_moves(queue: CollectorQueue, law: ToAndFro, moves: int, **options: Any) -> list[CollectorEvent]:
    """Send while the law moves that often, so that there are always events waiting, running and still to come."""
    events, enough = [], law.moves + moves
    while law.moves < enough:
        for _ in range(20):
            events.append(await queue.get_publisher().send(Payload(len(events), **options)))
        balanced(queue)
        await asyncio.sleep(0.01)
    return events


@pytest.mark.parametrize("handler", [handlers.record, handlers.record_plain])
@pytest.mark.parametrize("queue_type", list(QueueType))
async def test_moves_lose_and_repeat_nothing(handler: Any, queue_type: QueueType, tmp_path: Path) -> None:
    """However often a collector moves, each event runs once, and has the result of that run."""
    collector = Collector("c", handler, mode="adaptive")
    collector.ctx.file = str(tmp_path / "record")
    law = ToAndFro(consumers=5)
    options: dict[str, Any] = {"law": law, "max_consumers": 5, "max_workers": 2, "logging": False}
    async with asyncio.timeout(BOUND):
        async with CollectorQueue([collector], queue_type=queue_type, **options) as queue:
            events = await send_across_moves(queue, law, 8)
            places = Counter([(await event.wait()).first().unwrap() == HERE for event in events])
    assert Counter(handlers.lines_of(tmp_path / "record")) == Counter(map(str, range(len(events))))
    assert set(places) == {True, False}
    assert queue.accounting()[:4] == (len(events), len(events), 0, 0)


async def test_moves_keep_the_order_of_events_that_run_one_at_a_time(tmp_path: Path) -> None:
    """With one consumer the order is that of sending, across all moves: what waits is never overtaken."""
    collector = Collector("c", handlers.record, mode="adaptive")
    collector.ctx.file = str(tmp_path / "record")
    law = ToAndFro(consumers=1)
    async with asyncio.timeout(BOUND):
        async with CollectorQueue([collector], law=law, max_consumers=1, max_workers=1, logging=False) as queue:
            events = await send_across_moves(queue, law, 8)
    assert handlers.lines_of(tmp_path / "record") == [str(number) for number in range(len(events))]


async def test_moves_beside_collectors_that_stay(tmp_path: Path) -> None:
    """In a queue of collectors of several modes each event still reaches each of its collectors once."""
    modes = {"adaptive": handlers.record, "coroutine": handlers.record, "process": handlers.record_plain}
    collectors = [Collector(key, handler, mode=key, topics=[key, "all"]) for key, handler in modes.items()]
    for collector in collectors:
        collector.ctx.file = str(tmp_path / collector.key)
    law = ToAndFro(consumers=20)
    async with asyncio.timeout(BOUND):
        async with CollectorQueue(collectors, law=law, max_workers=2, logging=False) as queue:
            to = {"adaptive", "coroutine", "process"}
            sent: list[tuple[set[str], dict[str, Any]]] = [
                (to, {}),
                ({"adaptive"}, {"delivery": Delivery.KEY, "keys": ["adaptive"]}),
                ({"coroutine"}, {"delivery": Delivery.TOPIC, "topics": ["coroutine"]}),
                (to, {"delivery": Delivery.TOPIC, "topics": ["all"]}),
            ]
            wanted: dict[str, Counter[str]] = {key: Counter() for key in modes}
            for reached, options in sent:
                events = await send_across_moves(queue, law, 4, **options)
                for key in reached:
                    wanted[key].update(map(str, range(len(events))))
    assert {key: Counter(handlers.lines_of(tmp_path / key)) for key in modes} == wanted


@pytest.mark.parametrize("handler", [handlers.work, handlers.work_plain])
async def test_a_handler_that_computes_is_moved_and_the_log_says_why(handler: Any) -> None:
    """It begins here, and is in a worker once its events turn out to need the CPU; log and changes have the figures."""
    log = Log()
    queue = CollectorQueue([Collector("busy", handler, mode="adaptive")], max_workers=1, log=log)
    async with asyncio.timeout(BOUND), queue:
        publisher = queue.get_publisher()
        event = await publisher.send(Payload((0.0, 0.0)))
        assert (await event.wait()).first().unwrap() == HERE
        while queue.collectors["busy"].place != "process":
            await publisher.send(Payload((0.02, 0.0)))
            await asyncio.sleep(0.01)
        event = await publisher.send(Payload((0.0, 0.0)))
        assert (await event.wait()).first().unwrap() != HERE
    (line,) = log.of("collector moved")
    assert (line["level"], line["collector"], line["after"]) == ("info", "busy", "process")
    assert "ms of CPU" in line["reason"]
    (change,) = [change for change in queue.changes() if change.subject == "busy"]
    assert (change.before, change.after, change.reason) == (Tier.COROUTINE, Tier.PROCESS, line["reason"])


@pytest.mark.parametrize("handler", [handlers.work, handlers.work_plain])
async def test_a_handler_that_waits_stays_here(handler: Any) -> None:
    """Hundreds of events that only wait give no reason to move, beside a loop that others keep busy."""
    log = Log()
    queue = CollectorQueue([Collector("calm", handler, mode="adaptive")], max_workers=1, log=log)
    async with asyncio.timeout(BOUND), queue:
        for _ in range(100):
            await queue.get_publisher().send(Payload((0.0, 0.005)))
            handlers.spin(0.002)  # the program's own work: no fault of the handler
            await asyncio.sleep(0.001)
        await queue.get_publisher().wait()
    assert log.of("collector moved") == []
    assert queue.collectors["calm"].place in ("coroutine", "thread")


async def test_a_fixed_size_leaves_the_choice_of_place() -> None:
    """autoscale=False fixes how many consumers and workers there are, not where an adaptive handler runs."""
    queue = CollectorQueue(
        [Collector("c", handlers.work, mode="adaptive")], autoscale=False, max_consumers=7, max_workers=1, logging=False
    )
    async with asyncio.timeout(BOUND), queue:
        while queue.collectors["c"].place != "process":
            assert queue.consumer_count() == 7
            await queue.get_publisher().send(Payload((0.02, 0.0)))
            await asyncio.sleep(0.01)


async def test_context_and_lifecycle_are_in_both_places_and_survive_a_restart(tmp_path: Path) -> None:
    """The program and each worker enter the lifecycle in a context of their own; a second start does so again."""
    collector = Collector("c", handlers.opened, mode="adaptive", lifecycle=handlers.opens)
    collector.ctx.file, collector.ctx.given = str(tmp_path / "record"), 5
    queue = CollectorQueue([collector], law=ToAndFro(consumers=5), max_workers=2, logging=False)
    for _ in range(2):
        places = set()
        async with asyncio.timeout(BOUND), queue:
            while len(places) < 2:
                event = await queue.get_publisher().send(Payload(None))
                pid, opened_in, given = (await event.wait()).first().unwrap()
                assert (opened_in, given) == (pid, 5)
                places.add(pid == HERE)
                await asyncio.sleep(0.01)
    noted = Counter(handlers.lines_of(tmp_path / "record"))
    assert (noted[f"opened {HERE}"], noted[f"closed {HERE}"]) == (2, 2)
    opened, closed = (
        sorted(line.split()[1] for line in noted.elements() if line.startswith(word)) for word in ("opened", "closed")
    )
    assert opened == closed
    assert len(closed) >= 4


@pytest.mark.parametrize("where", ["handler", "context"])
async def test_what_a_worker_could_not_have_is_refused_at_the_start(where: str) -> None:
    """An adaptive collector must be able to move from the first event on, not fail at its first move."""

    async def nested(payload: Any, ctx: Any) -> None:
        return None

    collector = Collector("c", nested if where == "handler" else handlers.echo, mode="adaptive")
    if where == "context":
        collector.ctx.call = lambda: None
    with pytest.raises(ValueError, match="'c' runs in worker processes, but its"):
        await CollectorQueue([collector], logging=False).init_queue()


async def test_a_collector_whose_values_cannot_travel_stays_and_says_so() -> None:
    """The first event is tried: if a worker could not be sent such values, the collector never moves."""
    log = Log()
    law = ToAndFro(consumers=5)
    queue = CollectorQueue([Collector("c", handlers.echo, mode="adaptive")], law=law, max_workers=1, log=log)
    async with asyncio.timeout(BOUND), queue:
        while not log.of("adaptive collector cannot move"):
            await (await queue.get_publisher().send(Payload(object()))).wait()
            await asyncio.sleep(0.001)
        moves = law.moves
        while law.moves < moves + 3:
            await (await queue.get_publisher().send(Payload(object()))).wait()
            await asyncio.sleep(0.001)
            assert queue.collectors["c"].place == "coroutine" or law.moves == moves
    (line,) = log.of("adaptive collector cannot move")
    assert (line["level"], line["collector"]) == ("warning", "c")
    assert "object" in line["reason"]


@pytest.mark.parametrize("queue_type", list(QueueType))
@pytest.mark.parametrize("remote", ["all", "none", "odd"])
def test_backlogs_are_sorted_out_in_order(queue_type: QueueType, remote: str) -> None:
    """Each event comes into the right backlog, wherever it was, and leaves it in the order of the queue."""
    dice = random.Random(5)
    is_remote = {"all": lambda p: True, "none": lambda p: False, "odd": lambda p: p.value % 2 == 1}[remote]
    kinds = 3 if queue_type is QueueType.PRIORITY else 1  # elsewhere all have the same
    for share in (0.0, 0.5, 1.0):
        backlogs, wanted = (Backlogs(queue_type, lambda _: None) for _ in range(2))
        everyone = []
        for number in range(200):
            event = CollectorEvent(number, Payload(number), float(dice.randrange(kinds)))
            backlogs.every[dice.random() < share].push(event)
            everyone.append(event)
        withdrawn = set()
        for backlog in backlogs:  # some are withdrawn meanwhile
            for event in list(backlog.order)[::7]:
                backlog.withdraw(event)
                withdrawn.add(event)
        for event in everyone:
            if event not in withdrawn:
                wanted.every[is_remote(event.payload)].push(event)
        backlogs.redirect(lambda event: DEFAULT_GROUP if is_remote(event.payload) else None)
        got = [[backlog.take() for _ in range(len(backlog))] for backlog in backlogs]
        assert got == [[backlog.take() for _ in range(len(backlog))] for backlog in wanted]
        assert all(event.place is backlog for backlog, events in zip(backlogs, got, strict=True) for event in events)


async def test_an_error_is_the_handlers_own_in_both_places() -> None:
    """A value that does not fit fails alike here and there."""
    queue = CollectorQueue(
        [Collector("c", handlers.work, mode="adaptive")], law=ToAndFro(5), max_workers=1, logging=False
    )
    async with asyncio.timeout(BOUND), queue:
        for _ in range(20):
            event = await queue.get_publisher().send(Payload("x"))
            result = (await event.wait()).first()
            assert isinstance(result, Error)
            assert isinstance(result.err, TypeError)
            await asyncio.sleep(0.02)
