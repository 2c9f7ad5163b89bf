"""A queue without processes and without waiting: an event loop whose clock jumps, handlers and workers that obey."""

import asyncio
import selectors
from collections.abc import Callable
from random import Random
from typing import Any

from event_collector import (
    Collector,
    CollectorEvent,
    Context,
    Payload,
    QueueType,
    Reject,
    Retry,
    RetryLater,
    SimpleRouter,
    WorkerCrashed,
)
from event_collector.data import Ok
from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.dispatch.permits import ConsumerLimits
from event_collector.events.dead_letters import DeadLetter, DeadLetters
from event_collector.exceptions import EventCancelled
from event_collector.handlers.delivery import DeliveryPlan
from event_collector.publisher import EventPublisher
from event_collector.values.clock import TimeSource, clock
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import failure
from event_collector.watching.metrics import Accounting, Meter
from event_collector_workers.environment import DEFAULT_GROUP
from tests.event_collector.sample_attempts import echo

OUTCOMES: dict[str, Callable[[], BaseException | None]] = {
    "ok": lambda: None,
    "refuse": lambda: ConnectionError("refused"),
    "later": lambda: RetryLater(delay=0.5),
    "reject": lambda: Reject("never"),
    "mistake": lambda: ValueError("not retried"),
    "crash": lambda: WorkerCrashed("killed", exitcode=-9),
}
POLICY = Retry(max_attempts=3, backoff=1.0, max_backoff=4.0, jitter=0.5, on=(ConnectionError, WorkerCrashed))


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait: when it would, its clock jumps."""

    def __init__(self, now: float) -> None:
        self.now = now
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            self._loop.now += timeout
        return super().select(0)


class Silence:
    """A log that nobody reads."""

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: None


class Handling:
    """One handler at work on one event, until it is told how to end."""

    def __init__(self, key: str, payload: Payload[Any], end: Callable[[BaseException | None], None]) -> None:
        self.key = key
        self.payload = payload
        self.end = end


class SimulatedWorkers:
    """Workers that hold what they are given; the dispatcher's tier, and the collectors' too."""

    def __init__(self, simulation: "Simulation", places: int) -> None:
        self._simulation = simulation
        self._places = places
        self.jobs: dict[CollectorEvent, Handling] = {}
        self._calls = 0

    @property
    def room(self) -> int:
        return self._places - len(self.jobs) - self._calls

    @property
    def is_idle(self) -> bool:
        return self.room > 0

    def submit(self, batch: list[tuple[CollectorEvent, Collector]]) -> None:
        for event, its_collector in batch:
            self._begin(event, its_collector)

    def _begin(self, event: CollectorEvent, collector: Collector) -> None:
        event.move_to(self)
        begun, payload = self._simulation.loop.now, event.payload

        def end(error: BaseException | None) -> None:
            del self.jobs[event]
            result = (
                Ok(payload.value, key=collector.key)
                if error is None
                else failure(error, collector.process, (payload,), {}, collector.key)
            )
            self._simulation.dispatcher.ended_many([(event, result, self._simulation.loop.now - begun)])
            self._simulation.dispatcher.hand_out()

        self.jobs[event] = self._simulation.begin(collector.key, payload, end)

    def note_waiter(self) -> None:
        """Do nothing."""

    def cancel_event(self, event: CollectorEvent, *, running: bool) -> bool:
        if not event.note_cancelled():
            return True
        handling = self.jobs[event]
        del self._simulation.handlings[handling]
        # The worker is killed, which takes a moment.
        self._simulation.loop.call_later(0.01, handling.end, EventCancelled("in its worker"))
        return True

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        self._calls += 1
        try:
            return await self._simulation.call(collector.key, payload)
        finally:
            self._calls -= 1
            self._simulation.dispatcher.hand_out()


class SimulatedTime(TimeSource):
    """The time of the simulated event loop."""

    def __init__(self, simulation: "Simulation") -> None:
        self.monotonic = simulation.loop.time
        self.wall = simulation.wall_clock


class Simulation:
    """Dispatcher, schedule and dead letters of one queue, with everything around them simulated; to be opened.

    Collectors: "c" is a coroutine, "p" runs in workers, both with retries; "n" has none.
    """

    def __init__(
        self,
        on_begin: Callable[[Handling], None] = lambda _: None,
        *,
        now: float = 1000.0,
        queue_type: QueueType,
        bound: int,
        overflow: str,
        consumers: int,
        workers: int,
        alone: bool,
    ) -> None:
        self.loop = JumpingLoop(now)
        asyncio.set_event_loop(self.loop)
        self._patches = self.patches()
        for patch in self._patches:
            patch.__enter__()
        self.handlings: dict[Handling, None] = {}
        self.on_begin = on_begin
        collectors = [
            Collector("c", self._handle_c, topics=["c"], retry=POLICY),
            *([] if alone else [Collector("p", echo, topics=["p"], retry=POLICY)]),
            *([] if alone else [Collector("n", self._handle_n, topics=["n"])]),
        ]
        self.collectors = {one.key: one for one in collectors}
        self.letters = DeadLetters(5, self._resend, lambda _: None, Silence())
        self.dispatcher = Dispatcher(
            queue_type=queue_type,
            default_priority=1000,
            max_queue_size=bound,
            overflow=overflow,
            limits=ConsumerLimits(1, consumers, autoscale=False),
            meter=Meter(events=10, rate_window=1, load_window=1, warmup=0, history=10),
            letters=self.letters,
            now=self.loop.time,
            chance=Random(1).random,
        )
        self.publisher = EventPublisher(self.dispatcher)
        self.workers = None if alone else SimulatedWorkers(self, workers)
        if self.workers is not None:
            self.collectors["p"].attach(self.workers)

    def patches(self) -> list[Any]:
        """What is not as it is in a program while this one is simulated."""
        return [clock.using(SimulatedTime(self))]

    def wall_clock(self) -> float:
        """Return the seconds since the epoch."""
        return self.loop.time()

    async def _resend(self, letter: DeadLetter) -> CollectorEvent:
        return await self.publisher.resend(letter)

    def open(self) -> None:
        plan = DeliveryPlan(SimpleRouter(self.collectors), self.collectors)
        self.dispatcher.open(
            self.loop, plan, {} if self.workers is None else {DEFAULT_GROUP: self.workers}, lambda: None
        )

    def end(self, *, abort: bool) -> None:
        """As the engine does it: drain, or give up, or abandon what ignores its cancellation."""
        error = QueueShutDown("the end")
        self.dispatcher.refuse(error)
        self.turn()
        if not abort:
            for _ in range(200):
                if self.dispatcher.totals.unfinished == 0:
                    break
                for handling in list(self.handlings):
                    self.finish(handling, None)
                self.advance(1.0)
            assert self.dispatcher.totals.unfinished == 0, "a drain that does not end"
        else:
            self.dispatcher.give_up(error)
            if self.workers is not None:
                for handling in list(self.workers.jobs.values()):
                    if handling in self.handlings:
                        self.finish(handling, QueueShutDown("the pool is closed"))
            self.advance(1.0)
            self.dispatcher.abandon(error)
        self.dispatcher.close()
        self.turn()

    async def _handle_c(self, payload: Payload[Any], ctx: Context) -> Any:
        return await self.call("c", payload)

    async def _handle_n(self, payload: Payload[Any], ctx: Context) -> Any:
        return await self.call("n", payload)

    async def call(self, key: str, payload: Payload[Any]) -> Any:
        """Wait in a handler until it is told how to end."""
        told: asyncio.Future[Any] = self.loop.create_future()

        def end(error: BaseException | None) -> None:
            if not told.done():
                told.set_exception(error) if error is not None else told.set_result(payload.value)
                told.exception()  # a handler that is cancelled at this moment does not ask

        handling = self.begin(key, payload, end)
        try:
            return await told
        finally:
            self.handlings.pop(handling, None)

    def begin(self, key: str, payload: Payload[Any], end: Callable[[BaseException | None], None]) -> Handling:
        handling = Handling(key, payload, end)
        self.handlings[handling] = None
        self.on_begin(handling)
        return handling

    def finish(self, handling: Handling, error: BaseException | None) -> None:
        """Have a handler end."""
        del self.handlings[handling]
        handling.end(error)
        self.turn()

    def check_balance(self) -> Accounting:
        """See that the equation holds, now and after a turn of the loop; return the numbers of then."""
        self._check(self.dispatcher.figures.accounting())
        self.turn()
        count = self.dispatcher.figures.accounting()
        self._check(count)
        return count

    def _check(self, count: Accounting) -> None:
        assert count.accepted == sum(count[1:]), count
        assert min(count) >= 0, count

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def turn(self) -> None:
        """Let everything happen that needs no time."""
        self.run(turns(24))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(seconds))
        self.turn()

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.turn()
        asyncio.set_event_loop(None)
        self.loop.close()
        for patch in self._patches:
            patch.__exit__(None, None, None)


async def turns(count: int) -> None:
    """Let so many turns of the loop pass."""
    for _ in range(count):
        await asyncio.sleep(0)
