"""Results: what comes back from handlers, and how functions are turned into results."""

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from event_collector import Error, Ok, Payload, Result, ResultList, abind
from tests.event_collector.sample_exceptions import BrokenParts

Copier = Callable[[Any], Any]

COPIERS: list[Copier] = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
copied = pytest.mark.parametrize("duplicate", COPIERS, ids=["copy", "deepcopy", "pickle"])


def test_ok_carries_a_value() -> None:
    """An Ok says that it is no error and gives its value back, the same object."""
    value = {"a": [1]}
    result = Ok(value)
    assert (result.ok(), result.error(), result.is_error) == (True, False, False)
    assert result.value is value
    assert result.unwrap() is value


def test_error_carries_an_error_and_its_details() -> None:
    """An Error says that it is one and gives the error and the details back, the same objects."""
    err, details = ValueError("bad"), {"a": 1}
    result = Error(err, details)
    assert (result.ok(), result.error(), result.is_error) == (False, True, True)
    assert result.err is err
    assert result.details is details
    assert Error("bad").details is None


def test_results_can_be_made_with_keywords() -> None:
    """The parameters have names: value, err, details."""
    assert Ok(value=3).value == 3
    failed = Error(err="bad", details={"a": 1})
    assert (failed.err, failed.details) == ("bad", {"a": 1})


def test_unwrapping_an_exception_raises_that_exception() -> None:
    """The exception that comes out of unwrap() is the one that went in."""
    err = LookupError("gone")
    with pytest.raises(LookupError) as caught:
        Error(err).unwrap()
    assert caught.value is err


@pytest.mark.parametrize("err", ["bad input", 3, None, ["a"]])
def test_unwrapping_anything_else_raises_a_runtime_error(err: object) -> None:
    """An error that is no exception becomes a RuntimeError that reads the same."""
    with pytest.raises(RuntimeError) as caught:
        Error(err).unwrap()
    assert str(caught.value) == str(err)


def test_the_value_of_an_error_is_none() -> None:
    """Code that reads `.value` without asking first gets None from an Error, not an AttributeError."""
    assert Error("bad").value is None


@pytest.mark.parametrize(
    ("result", "seen"),
    [(Ok(0), ("ok", 0)), (Ok(None), ("ok", None)), (Error("bad"), ("error", "bad")), (Error(None), ("error", None))],
)
def test_match_takes_results_apart(result: Ok[Any] | Error[Any], seen: tuple[str, Any]) -> None:
    """`case Ok(value)` and `case Error(err)` bind what the result carries."""
    match result:
        case Ok(value):
            found = ("ok", value)
        case Error(err):
            found = ("error", err)
    assert found == seen


def test_match_reaches_into_results() -> None:
    """A pattern may name the class of the exception, or the attributes."""

    def classify(result: Ok[Any] | Error[Any]) -> str:
        match result:
            case Error(ValueError()):
                return "value error"
            case Error(err=str(text)):
                return text
            case Ok(value={"id": number}):
                return f"id {number}"
            case _:
                return "other"

    results: list[Ok[Any] | Error[Any]] = [Error(ValueError()), Error("text"), Ok({"id": 3}), Ok(3)]
    assert [classify(result) for result in results] == ["value error", "text", "id 3", "other"]


def test_results_are_told_apart_by_class() -> None:
    """isinstance() tells an Ok from an Error, and both are always true."""
    assert isinstance(Ok(0), Ok)
    assert not isinstance(Ok(0), Error)
    assert isinstance(Error(0), Error)
    assert bool(Ok(0))
    assert bool(Error(None))


def test_results_compare_by_identity_and_hash() -> None:
    """Two results are never taken for one another, and a set can hold results of unhashable values."""
    first, second = Ok([1]), Ok([1])
    assert first != second
    assert len({first, second, Error([1]), Error([1])}) == 4


@pytest.mark.parametrize("result", [Ok({"a": 1}), Error("bad text"), Error(ValueError("bad text"))])
def test_the_repr_of_a_result_shows_what_it_carries(result: object) -> None:
    """A printed result says its class and its content."""
    assert type(result).__name__ in repr(result)
    assert ("bad text" if isinstance(result, Error) else "'a': 1") in repr(result)


@copied
def test_results_can_be_copied_and_pickled(duplicate: Copier) -> None:
    """A copy of a result carries an equal value; an error keeps its details."""
    assert duplicate(Ok([1])).unwrap() == [1]
    failed = duplicate(Error("bad", {"a": 1}))
    assert (failed.err, failed.details, failed.is_error) == ("bad", {"a": 1}, True)
    assert repr(duplicate(Error(ValueError("bad"))).err) == "ValueError('bad')"


@pytest.mark.parametrize("generic", [Ok, Error, Payload])
def test_the_carriers_can_be_subscripted(generic: Any) -> None:
    """Ok[int], Error[str] and Payload[dict] may stand in annotations that are evaluated."""
    assert generic[int].__origin__ is generic


def test_a_result_list_is_a_sequence() -> None:
    """It has a length, an order, indices and membership, and its own names for them."""
    results: list[Result] = [Ok(1), Error("bad"), Ok(3)]
    listed = ResultList(results)
    assert len(listed) == listed.size() == 3
    assert list(listed) == list(listed.iter()) == listed.results == results
    assert listed[0] is results[0]
    assert listed[-1] is results[2]
    assert results[1] in listed


def test_the_results_of_a_result_list_are_a_plain_view() -> None:
    """`results` can be used wherever a list can."""
    assert isinstance(ResultList([Ok(1)]).results, list)
    assert ResultList().results == []


def test_first_is_the_first_result() -> None:
    """first() gives the first result, an Ok or an Error."""
    results: list[Result] = [Error("bad"), Ok(1)]
    assert ResultList(results).first() is results[0]


def test_first_of_an_empty_list_is_an_error() -> None:
    """Where nothing was delivered there is no result, and first() says so with an Error."""
    empty = ResultList()
    assert (len(empty), empty.size(), list(empty.iter())) == (0, 0, [])
    assert not empty
    assert empty.first().is_error
    with pytest.raises(RuntimeError, match="empty"):
        empty.first().unwrap()


def test_a_result_list_does_not_follow_the_list_it_was_made_from() -> None:
    """Appending to the source afterwards leaves the results alone."""
    source = [Ok(1)]
    listed = ResultList(source)
    source.append(Ok(2))
    assert listed.size() == 1


def test_a_result_list_grows_like_a_list() -> None:
    """Routers build one with append and extend."""
    listed = ResultList()
    listed.append(Ok(1))
    listed.extend([Ok(2), Ok(3)])
    assert [result.unwrap() for result in listed] == [1, 2, 3]
    assert listed.pop().unwrap() == 3


def test_parts_and_sums_of_result_lists_are_result_lists() -> None:
    """Slicing and adding keep first() and size() at hand."""
    one, two = ResultList([Ok(1), Ok(2)]), ResultList([Ok(3)])
    assert one[1:].first().unwrap() == 2
    assert (one + two).size() == 3


def test_a_result_list_equals_the_list_of_its_results() -> None:
    """It compares like a list."""
    results = [Ok(1)]
    assert ResultList(results) == results
    assert ResultList(results) == ResultList(results)


@copied
def test_a_result_list_can_be_copied_and_pickled(duplicate: Copier) -> None:
    """A copy is a ResultList with the same content, and independent."""
    listed = ResultList([Ok(1), Error("bad")])
    other = duplicate(listed)
    other.append(Ok(3))
    assert type(other) is ResultList
    assert [repr(result) for result in other[:2]] == [repr(result) for result in listed]
    assert listed.size() == 2


async def add(left: int, right: int = 0) -> int:
    return left + right


async def test_abind_makes_a_result_of_a_value() -> None:
    """Arguments are passed on and the value becomes an Ok."""
    assert (await abind(add, 1, right=2)).unwrap() == 3


async def test_abind_makes_an_ok_of_none() -> None:
    """A function without a return value has succeeded."""

    async def nothing() -> None: ...

    result = await abind(nothing)
    assert result.ok()
    assert result.value is None


@pytest.mark.parametrize("result", [Ok(1), Error("bad")])
async def test_abind_leaves_results_alone(result: Ok[Any] | Error[Any]) -> None:
    """An Ok or an Error that the function returns is not wrapped again."""

    async def decided() -> Ok[Any] | Error[Any]:
        return result

    assert await abind(decided) is result


async def test_abind_makes_an_error_of_an_exception() -> None:
    """The exception is the error, and the details say what was called and where it failed."""

    async def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("boom")

    result = await abind(fail, 1, right=2)
    assert isinstance(result, Error)
    assert repr(result.err) == "ValueError('boom')"
    assert result.details is not None
    assert set(result.details) >= {"func", "args", "kwargs", "exc", "trace"}
    assert (result.details["func"], result.details["args"], result.details["kwargs"]) == (fail, (1,), {"right": 2})
    assert result.details["exc"] is result.err
    assert "ValueError: boom" in result.details["trace"]
    assert "in fail" in result.details["trace"]


async def test_abind_makes_an_error_of_a_function_that_is_not_asynchronous() -> None:
    """A plain function has run, but its value cannot be awaited: a TypeError as a result."""
    plain: Any = int
    result = await abind(plain)
    assert isinstance(result, Error)
    assert isinstance(result.err, TypeError)


async def test_abind_makes_an_error_of_an_exception_whose_parts_raise() -> None:
    """The traceback as text has the class of the exception, and where it was raised."""

    async def fail() -> None:
        raise BrokenParts

    result = await abind(fail)
    assert isinstance(result, Error)
    assert type(result.err) is BrokenParts
    assert result.details is not None
    assert "BrokenParts" in result.details["trace"]
    assert "in fail" in result.details["trace"]


async def test_abind_lets_cancellation_through() -> None:
    """A cancelled call is cancelled; it does not become a result."""
    started = asyncio.Event()

    async def wait_forever() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(abind(wait_forever))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        (None, ""),
        ({"func": print, "args": (), "kwargs": {}, "exc": KeyError(), "trace": "x\n" * 999}, ""),
        ({"trace": "x\n" * 999, "attempt": 3, "last_error": None}, " details={'attempt': 3, 'last_error': None}"),
        ({"stock": 0}, " details={'stock': 0}"),
        (["odd"], " details=['odd']"),
    ],
)
def test_the_repr_of_an_error_fits_a_line(details: Any, shown: str) -> None:
    """It has the error and what the application has added, not the call and the traceback."""
    assert repr(Error(ValueError("bad"), details)) == f"<Error err=ValueError('bad'){shown}>"
