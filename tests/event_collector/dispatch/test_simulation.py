"""Any order of sends, failures, crashes, cancellations, deadlines, replays and ends leaves every event one end.

Driven by hypothesis on a clock that jumps: deterministic, and an order that breaks something shrinks to a short one.
"""

import asyncio  # noqa: TC003 - a test module
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from event_collector import CollectorEvent, Delivery, Payload, QueueFull, QueueShutDown, QueueType
from tests.event_collector.dispatch.simulation import OUTCOMES, POLICY, Handling, Simulation

TARGETS: dict[str, dict[str, Any]] = {
    "all": {},
    "c": {"delivery": Delivery.KEY, "keys": ["c"]},
    "p": {"delivery": Delivery.TOPIC, "topics": ["p"]},
    "c and p": {"delivery": Delivery.KEY, "keys": ["c", "p"]},
    "nobody": {"delivery": Delivery.KEY, "keys": ["x"]},
}

QUEUES: dict[str, Any] = {
    "queue_type": st.sampled_from(QueueType),
    "bound": st.sampled_from([0, 1, 3]),
    "overflow": st.sampled_from(["wait", "drop_oldest", "drop_newest"]),
    "consumers": st.integers(1, 4),
    "workers": st.integers(1, 3),
    "alone": st.booleans(),
}


class Reliability(RuleBasedStateMachine):
    """What may happen to a queue, and what must hold meanwhile."""

    @initialize(**QUEUES)
    def begin(self, bound: int, overflow: str, **options: Any) -> None:
        self.simulation = Simulation(self.see_begin, bound=bound, overflow=overflow if bound else "wait", **options)
        self.simulation.open()
        self.bound = bound
        self.events: dict[int, CollectorEvent] = {}
        self.results: dict[int, Any] = {}
        self.deadlines: dict[int, float] = {}
        self.tries: Counter[tuple[int, str]] = Counter()
        self.senders: list[asyncio.Task[Any]] = []
        self.number = self.since = 0
        self.is_open = True

    def see_begin(self, handling: Handling) -> None:
        number, key = handling.payload.value, handling.key
        self.tries[number, key] += 1
        assert handling.payload.attempt == self.tries[number, key], "the number of the attempt is wrong"
        assert self.tries[number, key] <= POLICY.max_attempts, "one attempt too many"
        assert (handling.payload.last_error is None) == (handling.payload.attempt == 1)
        assert self.simulation.loop.now <= self.deadlines.get(number, 1e18), "it began after its deadline"
        same = [h for h in self.simulation.handlings if (h.payload.value, h.key) == (number, key)]
        assert len(same) == 1, "two handlers have one event"

    # What happens

    @rule(
        goes_to=st.sampled_from(["all", "all", "c and p", "c and p", "c", "p", "nobody"]),
        priority=st.integers(0, 2),
        deadline=st.none() | st.sampled_from([0.3, 2.0, 5.0]),
        waits=st.booleans(),
        count=st.integers(1, 4),
    )
    def send(self, count: int, **how: Any) -> None:
        for _ in range(count):
            self.send_one(**how)

    def send_one(self, goes_to: str, priority: int, deadline: float | None, waits: bool) -> None:
        self.number += 1
        payload = Payload(self.number, priority=priority, **TARGETS[goes_to])
        if deadline is not None:
            self.deadlines[self.number] = self.simulation.loop.now + deadline
        if waits:
            sending = self.simulation.publisher.send(payload, deadline=deadline)
            self.senders.append(self.simulation.loop.create_task(self.keep(sending, self.number)))
            self.simulation.turn()
        else:
            self.simulation.run(self.send_nowait(payload, deadline))

    async def send_nowait(self, payload: Payload[Any], deadline: float | None) -> None:
        try:
            event = self.simulation.publisher.send_nowait(payload, deadline=deadline)
        except QueueFull:
            assert self.bound
        except QueueShutDown:
            assert not self.is_open
        else:
            self.events[event.id] = event

    async def keep(self, sending: Any, number: int) -> None:
        """Wait for an event with this number; it is noted in the very step in which it is accepted."""
        try:
            event = await sending
        except QueueShutDown:
            return
        self.events[event.id] = event

    @precondition(lambda self: self.senders)
    @rule(data=st.data())
    def cancel_a_sender(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.senders))
        task.cancel()
        self.senders.remove(task)

    @precondition(lambda self: self.simulation.handlings)
    @rule(data=st.data(), outcome=st.sampled_from(sorted(OUTCOMES)))
    def finish_a_handler(self, data: st.DataObject, outcome: str) -> None:
        number = data.draw(st.integers(0, len(self.simulation.handlings) - 1))
        handling = list(self.simulation.handlings)[number]
        if outcome == "crash" and handling.key != "p":
            outcome = "refuse"
        self.simulation.finish(handling, OUTCOMES[outcome]())

    @precondition(lambda self: self.simulation.handlings)
    @rule(outcome=st.sampled_from(["refuse", "later", "ok"]))
    def finish_all_handlers(self, outcome: str) -> None:
        for handling in list(self.simulation.handlings):
            if handling in self.simulation.handlings:
                self.simulation.finish(handling, OUTCOMES[outcome]())

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def cancel_an_event(self, data: st.DataObject) -> None:
        event = self.events[data.draw(st.sampled_from(sorted(self.events)))]
        was_done = event.is_done()
        assert event.cancel() is not was_done

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.1, 0.25, 1.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.simulation.advance(seconds)

    @precondition(lambda self: len(self.simulation.letters))
    @rule(data=st.data(), is_replayed=st.booleans())
    def decide_on_a_letter(self, data: st.DataObject, is_replayed: bool) -> None:
        letter = data.draw(st.sampled_from(list(self.simulation.letters)))
        if not is_replayed:
            self.simulation.letters.drop(letter)
            return
        self.tries[letter.payload.value, letter.collector] = 0
        self.deadlines.pop(letter.payload.value, None)
        sending = self.simulation.letters.replay(letter)
        self.senders.append(self.simulation.loop.create_task(self.keep(sending, 0)))
        self.simulation.turn()

    @rule(size=st.integers(1, 4))
    def resize(self, size: int) -> None:
        if self.is_open:
            self.simulation.dispatcher.resize(size)

    @precondition(lambda self: self.number >= self.since + 8)
    @rule(abort=st.booleans())
    def end_and_start(self, abort: bool) -> None:
        self.is_open = False
        self.simulation.end(abort=abort)
        count = self.simulation.dispatcher.figures.accounting()
        assert count[2:5] == (0, 0, 0), "something is left at the end"
        assert all(event.is_done() for event in self.events.values())
        self.simulation.open()
        self.is_open = True
        self.since = self.number

    # What must hold

    @invariant()
    def every_event_is_somewhere(self) -> None:
        count = self.simulation.check_balance()
        assert len(self.events) == count.accepted
        assert sum(event.is_done() for event in self.events.values()) == count.finished + count.dead

    @invariant()
    def results_stay(self) -> None:
        for number, event in self.events.items():
            results = event.get_result()
            if results is not None:
                assert self.results.setdefault(number, results) is results, "an event ended twice"
                assert len({result.key for result in results}) == len(results)

    @invariant()
    def bounds_hold(self) -> None:
        count = self.simulation.dispatcher.figures.accounting()
        if self.bound:
            running = count.in_handlers
            assert count.queued + count.scheduled <= self.bound + 4 + running
        assert len(self.simulation.letters) <= 5

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """What is queued waits for a consumer or a worker that has something to do."""
        count = self.simulation.dispatcher.figures.accounting()
        assert not count.queued or count.in_handlers

    def teardown(self) -> None:
        if not hasattr(self, "simulation"):
            return
        for task in self.senders:
            task.cancel()
        self.simulation.turn()
        try:
            self.simulation.end(abort=False)
            assert all(event.is_done() for event in self.events.values())
            self.every_event_is_somewhere()
        finally:
            self.simulation.close()


Reliability.TestCase.settings = settings(
    max_examples=2 * settings().max_examples,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_any_order_of_things = Reliability.TestCase
