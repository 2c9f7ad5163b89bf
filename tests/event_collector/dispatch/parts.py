"""The small objects of a dispatcher, connected to each other and to nothing else."""

from collections.abc import Mapping
from typing import Any

from event_collector import Collector, CollectorEvent, Context, Payload, QueueType, ResultList, SimpleRouter
from event_collector.dispatch.chunks import Chunks
from event_collector.dispatch.ending import Ending
from event_collector.dispatch.permits import ConsumerLimits, Permits
from event_collector.dispatch.retries import Retries
from event_collector.dispatch.totals import Totals
from event_collector.events.backlog import Backlogs
from event_collector.events.course import Course
from event_collector.events.dead_letters import DeadLetters
from event_collector.events.gate import Gate
from event_collector.handlers.delivery import DeliveryPlan
from event_collector.values.clock import TimeSource
from event_collector.watching.metrics import Meter


async def handle(payload: Payload[Any], ctx: Context) -> Any:
    """Do nothing."""


class StillTime(TimeSource):
    """Time that only a test moves."""

    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


class Parts:
    """Backlogs, permits, gate, totals, retries and ending of one queue. Time stands at `now` until a test moves it.

    Attributes:
        due: events whose next attempt is due, each with whether it needs a worker.
    """

    def __init__(self, places: int = 0, overflow: str = "wait", order: QueueType = QueueType.FIFO) -> None:
        self.now = 100.0
        self.due: list[tuple[CollectorEvent, bool]] = []
        self.permits = Permits(ConsumerLimits(1, 9, autoscale=False))
        self.gate = Gate(places, overflow)
        self.totals = Totals(Meter(events=9, rate_window=1, load_window=1, warmup=0, history=9))
        self.ending = Ending(self.totals, self.permits, self.gate)
        self.backlogs = Backlogs(order, self.ending.cancel_waiting)
        self.letters = DeadLetters(9, self._resend, lambda _: None, None)
        self.retries = Retries(
            self.letters,
            lambda event, line: self.due.append((event, line is not None)),
            self.ending,
            now=lambda: self.now,
            chance=lambda: 1.0,
        )
        self.ending.connect(self.backlogs, self.retries)
        self.chunks = Chunks(
            self.totals,
            self.permits,
            self.gate,
            self.ending,
            self.backlogs,
            lambda event, line: self.due.append((event, line is not None)),
            lambda: None,
        )

    async def _resend(self, letter: Any) -> Any:
        raise NotImplementedError

    def follow(self, *collectors: Collector, loop: Any = None) -> Mapping[str, Collector]:
        """Have these collectors, and open the retries in the loop if there is one."""
        by_key = {collector.key: collector for collector in collectors or (Collector("a", handle),)}
        plan = DeliveryPlan(SimpleRouter(by_key), by_key)
        if loop is not None:
            self.retries.open(loop, by_key, plan.router)
        self.ending.follow(plan)
        return by_key

    def event(self, number: int = 1, *, priority: float = 1000, deadline: float | None = None) -> CollectorEvent:
        """Return an event that is accepted and has its place in a bounded queue."""
        course = None if deadline is None else Course(deadline)
        self.totals.accept()
        self.gate.take()
        return CollectorEvent(number, Payload(number), priority, self.now, course=course)

    def begun(self, number: int = 1, **options: Any) -> CollectorEvent:
        """Return an event that is in its handler."""
        event = self.event(number, **options)
        self.gate.release()
        assert self.permits.take()
        event.begin(self.now)
        return event


def results_of(event: CollectorEvent) -> ResultList:
    """Return the results of an event that has ended."""
    results = event.get_result()
    assert results is not None, f"{event!r} has not ended"
    return results
