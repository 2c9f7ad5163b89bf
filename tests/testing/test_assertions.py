"""Assertions on results: they return what is wanted, or fail with all that is known."""

from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, Context, Error, Ok, Payload, ResultList
from event_collector.testing import assert_all_ok, assert_error, assert_ok
from tests.event_collector.modes import running


async def twice(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value * 2


async def fail(payload: Payload[Any], ctx: Context) -> Any:
    raise ValueError(f"no such order: {payload.value}")


async def test_they_take_events_lists_and_results() -> None:
    """An event that is done, its ResultList and its one Result say the same."""
    async with running(Collector("twice", twice)) as queue:
        event = await queue.get_publisher().send(Payload(21))
        results = await event.wait()
    for outcome in (event, results, results.first()):
        assert assert_ok(outcome) == 42
        assert assert_all_ok(outcome) == {"twice": 42}
    async with running(Collector("fail", fail)) as queue:
        event = await queue.get_publisher().send(Payload(7))
        results = await event.wait()
    for outcome in (event, results, results.first()):
        assert str(assert_error(outcome, ValueError)) == "no such order: 7"
        assert assert_error(outcome, Exception, match=r"order: \d$") is not None


async def test_an_error_is_shown_with_its_cause() -> None:
    """A failure names the collector and the error, and has the handler's exception as its cause."""
    async with running(Collector("twice", twice), Collector("fail", fail)) as queue:
        results = await (await queue.get_publisher().send(Payload(7))).wait()
    with pytest.raises(AssertionError, match=r"1 of 2 results are Errors:\nError.*no such order: 7.*'fail'") as caught:
        assert_all_ok(results)
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(
        AssertionError, match=r"expected Ok, got Error.*no such order: 7.*of collector 'fail'"
    ) as caught:
        assert_ok(results[1])
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(AssertionError, match=r"expected one result, got 2\n.*value=14> of collector 'twice'\n"):
        assert_ok(results)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Ok(5, key="a"), r"expected Error\(KeyError\), got Ok\(5\) of collector 'a'"),
        (Error(ValueError("x")), r"expected Error\(KeyError\), got Error\(ValueError\('x'\)\)"),
        (Error("text"), r"expected Error\(KeyError\), got Error\('text'\)"),
        (Error(KeyError("left")), "'right' is not found in \"'left'\""),
        (ResultList(), "expected one result, got 0"),
    ],
)
def test_what_is_not_the_error_that_is_wanted_fails(outcome: Any, message: str) -> None:
    """Ok, another exception, no exception at all, another text: each says what was there instead."""
    with pytest.raises(AssertionError, match=message):
        assert_error(outcome, KeyError, match="right")


def test_no_results_are_not_ok() -> None:
    """An event that reached no collector does not pass as a success."""
    with pytest.raises(AssertionError, match="no collector was reached"):
        assert_all_ok(ResultList())


async def test_mistakes_of_the_test_are_told() -> None:
    """An event that is not done yet, and a coroutine that nobody awaited."""
    async with running(Collector("twice", twice)) as queue:
        event = await queue.get_publisher().send(Payload(1))
        await event.wait()
        waiting = event.wait()
        with pytest.raises(TypeError, match="not coroutine; a coroutine has to be awaited"):
            assert_ok(waiting)  # type: ignore[arg-type]
        await waiting
        with pytest.raises(AssertionError, match="event 5 is not done"):
            assert_ok(CollectorEvent(5, Payload(1)))
