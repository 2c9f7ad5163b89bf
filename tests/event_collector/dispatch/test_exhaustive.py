"""Two events, two workers, and everything that may happen to each at every step: no order of it breaks anything."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from event_collector import Delivery, HandlerTimeout, Payload, QueueType, WorkerCrashed
from tests.event_collector.dispatch.simulation import POLICY, Handling, Simulation

OUTCOMES: dict[str, Callable[[], BaseException | None]] = {
    "ok": lambda: None,
    "crash": lambda: WorkerCrashed("killed", exitcode=-9),
    "timeout": lambda: HandlerTimeout("late"),
}
STEPS = [(what, number) for number in (0, 1) for what in (*OUTCOMES, "cancel")] + [("time", 0)]


class Run:
    """One order of steps."""

    def __init__(self, workers: int) -> None:
        self.simulation = Simulation(
            self.see_begin,
            queue_type=QueueType.FIFO, bound=0, overflow="wait", consumers=4, workers=workers, alone=False,
        )  # fmt: skip
        self.simulation.open()
        self.begun = [0, 0]
        self.results: dict[int, Any] = {}
        self.events = [
            self.simulation.run(self.simulation.publisher.send(Payload(number, Delivery.TOPIC, topics=["p"])))
            for number in (0, 1)
        ]
        self.simulation.turn()
        self.check()

    def see_begin(self, handling: Handling) -> None:
        self.begun[handling.payload.value] += 1
        assert handling.payload.attempt == self.begun[handling.payload.value] <= POLICY.max_attempts

    def take(self, what: str, number: int) -> bool:
        """Take a step; return whether it was possible."""
        if what == "time":
            self.simulation.advance(5.0)
        elif what == "cancel":
            if not self.events[number].cancel():
                return False
        else:
            handlings = [one for one in self.simulation.handlings if one.payload.value == number]
            if not handlings:
                return False
            self.simulation.finish(handlings[0], OUTCOMES[what]())
        self.check()
        return True

    def check(self) -> None:
        count = self.simulation.dispatcher.figures.accounting()
        assert count.accepted == sum(count[1:]) == 2
        assert min(count) >= 0
        assert sum(event.is_done() for event in self.events) == count.finished + count.dead
        for number, event in enumerate(self.events):
            running = sum(one.payload.value == number for one in self.simulation.handlings)
            assert running <= 1
            assert not (running and event.is_done())
            if event.is_done():
                results = event.get_result()
                assert self.results.setdefault(number, results) is results, "an event ended twice"

    def end(self) -> None:
        try:
            self.simulation.end(abort=False)
            self.check()
            assert all(event.is_done() and len(event.get_result()) == 1 for event in self.events)
        finally:
            self.simulation.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("depth", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_every_order_of_crashes_timeouts_and_cancellations(depth: int, workers: int) -> None:
    """After each step all is accounted for; in the end each event has one result, whatever came before."""
    possible = 0
    for steps in product(STEPS, repeat=depth):
        run = Run(workers)
        taken = all(run.take(*step) for step in steps)
        run.end()
        possible += taken
    assert possible > 50
