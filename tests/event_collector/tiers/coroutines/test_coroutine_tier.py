"""The coroutine tier alone: tasks, first steps, results, cancellation, and the end of handlers that ignore it."""

import asyncio
from contextvars import Context as ContextVars
from contextvars import ContextVar, copy_context
from types import SimpleNamespace
from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, Error, EventCancelled, Ok, Payload, ResultList, SimpleRouter
from event_collector.events.course import Course
from event_collector.events.nesting import NestedWaits
from event_collector.handlers.delivery import DeliveryPlan
from event_collector.tiers.coroutines.coroutine_tier import IS_EAGER, MOST_UNSTARTED, NAME, CoroutineTier
from event_collector.tiers.coroutines.running_handler import RunningHandler
from tests.event_collector.modes import BOUND, until

pytestmark = pytest.mark.anyio
variable: ContextVar[str] = ContextVar("variable", default="none")


class Owner:
    """The owner of the events: takes their results."""

    def __init__(self) -> None:
        self.results: dict[int, ResultList] = {}
        self.went_on = self.slices = 0
        self.attempted: list[Course] = []
        self.ending: Any = SimpleNamespace(
            ended=self._ended, note_errors=self._note_errors, note_failed=self._note_failed
        )
        self.failed: list[int] = []
        self.plan: Any = None
        self.retries: Any = SimpleNamespace(attempt=self._attempt)
        self.turns: Any = SimpleNamespace(end_slice=self._end_slice)

    def _ended(self, event: CollectorEvent, results: ResultList) -> None:
        assert event.id not in self.results, "an event ends once"
        event.move_to(None)
        self.results[event.id] = results

    def _note_errors(self, event: CollectorEvent, results: ResultList) -> bool:
        if self.plan.count_errors(results):
            self._note_failed(event, results)
        return event.id in self.failed

    def _note_failed(self, event: CollectorEvent, _results: ResultList) -> None:
        self.failed.append(event.id)

    async def _attempt(self, payload: Payload[Any], course: Course) -> ResultList:
        self.attempted.append(course)
        return ResultList([Ok("again")])

    def _end_slice(self) -> None:
        self.slices += 1

    def go_on(self) -> None:
        self.went_on += 1


class Case:
    """A tier, and the events in it."""

    def __init__(self, *handlers: Any, is_recorded: bool = False, router: Any = SimpleRouter) -> None:
        by_key = {f"k{index}": Collector(f"k{index}", handler) for index, handler in enumerate(handlers)}
        self.collectors = list(by_key.values())
        self.owner = Owner()
        plan = self.owner.plan = DeliveryPlan(router(by_key), by_key)
        self.tier = CoroutineTier(self.owner, asyncio.get_running_loop(), plan, NestedWaits(), is_recorded=is_recorded)
        self._last = 0

    def begin(self, value: Any = None, variables: ContextVars | None = None) -> CollectorEvent:
        self._last += 1
        event = CollectorEvent(self._last, Payload(value))
        self.tier.begin(event, variables)
        return event

    async def result_of(self, event: CollectorEvent) -> Any:
        """Return the only result of an event, as soon as it is there."""
        await until(lambda: event.id in self.owner.results, "the event ends")
        (result,) = self.owner.results[event.id]
        return result


async def double(payload: Payload[Any], ctx: Any) -> Any:
    return payload.value * 2


async def wait(payload: Payload[Any], ctx: Any) -> Any:
    await payload.value.wait()
    return "waited"


async def fail(payload: Payload[Any], ctx: Any) -> Any:
    raise payload.value


async def test_a_handler_that_never_waits_ends_in_its_first_step() -> None:
    """Where tasks are eager that is within `begin()`; else a turn of the loop later."""
    case = Case(double)
    event = case.begin(21)
    assert (event.id in case.owner.results) is IS_EAGER
    result = await case.result_of(event)
    assert (result.unwrap(), result.key) == (42, "k0")
    assert len(case.tier) == 0
    assert case.tier.stepping is None


async def test_a_handler_that_waits_is_the_place_of_its_event() -> None:
    """The next events begin when it ends."""
    case, news = Case(wait), asyncio.Event()
    event = case.begin(news)
    assert isinstance(event.place, RunningHandler)
    assert (len(case.tier), repr(case.tier)) == (1, "<CoroutineTier 1 handlers wait>")
    assert case.tier.event_of(event.place.task) is event
    assert event.place.task.get_name() == NAME
    news.set()
    assert (await case.result_of(event)).unwrap() == "waited"
    assert len(case.tier) == 0
    assert case.owner.went_on == 1


async def test_foreign_tasks_have_no_event() -> None:
    assert Case(wait).tier.event_of(asyncio.current_task()) is None
    assert Case(wait).tier.event_of(None) is None


@pytest.mark.parametrize("is_given", [False, True])
async def test_each_event_has_context_variables_of_its_own(is_given: bool) -> None:
    """Those that are given, or a copy of the caller's; what the handler sets, its caller does not see."""

    async def look(payload: Payload[Any], ctx: Any) -> str:
        seen = variable.get()
        variable.set("changed")
        return seen

    case = Case(look)
    variable.set("given")
    given = copy_context()
    variable.set("callers")
    event = case.begin(variables=given if is_given else None)
    assert (await case.result_of(event)).unwrap() == ("given" if is_given else "callers")
    assert variable.get() == "callers"


@pytest.mark.parametrize("error", [ValueError("bad"), asyncio.CancelledError()])
async def test_an_exception_is_the_result(error: BaseException) -> None:
    """Also a cancellation that comes from the handler itself. It is counted, and names what was called."""
    case = Case(fail)
    result = await case.result_of(case.begin(error))
    assert result.err is error
    assert result.key == "k0"
    assert case.collectors[0].usage.errors == 1


async def test_an_error_that_is_returned_counts_as_failed() -> None:
    case = Case(double)

    class Twice:
        def __mul__(self, _: int) -> Any:
            return Error("no")

    result = await case.result_of(case.begin(Twice()))
    assert result.err == "no"
    assert case.collectors[0].usage.errors == 1


async def test_several_collectors_answer_for_one_event() -> None:
    """The failures of each are counted."""
    case = Case(double, fail)
    event = case.begin(3)
    await until(lambda: event.id in case.owner.results, "the event ends")
    first, second = case.owner.results[event.id]
    assert (first.key, first.unwrap()) == ("k0", 6)
    assert (second.key, second.is_error) == ("k1", True)
    assert [collector.usage.errors for collector in case.collectors] == [0, 1]


@pytest.mark.parametrize("answer", [None, [Ok(1)], ResultList([Ok(1)])])
async def test_a_router_answers_a_list(answer: Any) -> None:
    """Anything else is an error of the event."""

    class Answering(SimpleRouter):
        async def handle_event(self, payload: Payload[Any]) -> Any:
            return answer

    case = Case(double, router=Answering)
    result = await case.result_of(case.begin(1))
    assert result.is_error is (answer is None)
    assert answer is not None or "ResultList" in str(result.err)


async def test_another_attempt_goes_to_those_that_have_failed() -> None:
    """The owner's retries run it."""
    case = Case(double, double)
    event = CollectorEvent(9, Payload(1), course=Course(None, ("k1",)))
    case.tier.begin(event, None)
    assert (await case.result_of(event)).unwrap() == "again"
    assert case.owner.attempted == [event.course]


async def test_a_cancelled_event_ends_with_its_handler() -> None:
    """With EventCancelled, unless the handler answers."""
    case = Case(wait)
    event = case.begin(asyncio.Event())
    await asyncio.sleep(0)
    assert event.cancel()
    assert isinstance((await case.result_of(event)).err, EventCancelled)

    async def answer(payload: Payload[Any], ctx: Any) -> str:
        try:
            await asyncio.sleep(BOUND)
        except asyncio.CancelledError:
            return "cleaned up"
        return "late"

    case = Case(answer)
    event = case.begin()
    await asyncio.sleep(0)
    event.cancel()
    assert (await case.result_of(event)).unwrap() == "cleaned up"


async def test_a_handler_that_has_begun_is_left_alone_if_wanted() -> None:
    """In its first step, and later: it answers as if nobody had asked."""
    go, asked = asyncio.Event(), []

    async def ask(payload: Payload[Any], ctx: Any) -> str:
        event = case.tier.event_of(asyncio.current_task())
        assert event is not None
        asked.append(event.cancel(running=False))
        await go.wait()
        return "waited"

    case = Case(ask)
    event = case.begin()
    await until(lambda: bool(asked), "the handler has begun")
    assert asked == [False]
    assert not event.cancel(running=False)
    assert not event.is_cancelled
    go.set()
    assert (await case.result_of(event)).unwrap() == "waited"


async def test_a_handler_may_cancel_its_event_in_its_first_step() -> None:
    """It hears of that where it waits."""
    case = Case()

    async def cancel_itself(payload: Payload[Any], ctx: Any) -> None:
        payload.value[0].cancel()
        await asyncio.sleep(BOUND)

    case = Case(cancel_itself)
    event = CollectorEvent(1, Payload([]))
    event.payload.value.append(event)
    case.tier.begin(event, None)
    assert isinstance((await case.result_of(event)).err, EventCancelled)


async def test_all_handlers_can_be_cancelled_with_an_error() -> None:
    """Each gets a new one. What ignores it can be abandoned: its answer is dropped."""

    async def ignore(payload: Payload[Any], ctx: Any) -> str:
        while not payload.value.is_set():
            try:
                await payload.value.wait()
            except asyncio.CancelledError:
                pass
        return "late"

    obedient, stubborn = Case(wait), Case(ignore)
    events = [obedient.begin(asyncio.Event()) for _ in range(2)]
    await asyncio.sleep(0)
    obedient.tier.cancel_all(lambda: RuntimeError("over"))
    errors = [(await obedient.result_of(event)).err for event in events]
    assert [str(error) for error in errors] == ["over", "over"]
    assert errors[0] is not errors[1]
    event = stubborn.begin(news := asyncio.Event())
    await asyncio.sleep(0)
    stubborn.tier.cancel_all(lambda: RuntimeError("over"))
    await asyncio.sleep(0)
    place = event.place
    assert isinstance(place, RunningHandler)
    assert stubborn.tier.abandon_all() == [event]
    event.move_to(None)
    news.set()
    async with asyncio.timeout(BOUND):
        await place.task
    assert stubborn.owner.results == {}


@pytest.mark.skipif(IS_EAGER, reason="tasks take their first step at once")
async def test_many_that_have_not_begun_end_the_slice() -> None:
    """So that their first steps come together. A task that is cancelled before its first step ends its event."""
    case = Case(double)
    events = [case.begin(1) for _ in range(MOST_UNSTARTED)]
    assert case.owner.slices == 1
    assert events[0].cancel()
    assert isinstance((await case.result_of(events[0])).err, EventCancelled)
    assert (await case.result_of(events[-1])).unwrap() == 2
    case.begin(1)
    assert case.owner.slices == 1


@pytest.mark.parametrize("is_recorded", [False, True])
async def test_a_cancellation_from_outside_of_the_queue(is_recorded: bool) -> None:
    """The event loop ends below the queue: what is on record is left to the next start."""
    case = Case(wait, is_recorded=is_recorded)
    event = case.begin(asyncio.Event())
    await asyncio.sleep(0)
    assert isinstance(event.place, RunningHandler)
    event.place.task.cancel()
    error = (await case.result_of(event)).err
    assert type(error).__name__ == ("QueueShutDown" if is_recorded else "CancelledError")
