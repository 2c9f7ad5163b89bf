"""Assertions on results. A failed one shows the errors of the handlers."""

import re
from typing import Any, TypeAlias, TypeVar

from event_collector.events.event import CollectorEvent
from event_collector.values.results import Error, Ok, Result, ResultList

Outcome: TypeAlias = CollectorEvent | ResultList | Result[Any]
"""An event that is done, its results, or one of them."""

E = TypeVar("E", bound=BaseException)


def assert_ok(outcome: Outcome) -> Any:
    """Return the value of a result, or of the only result of an event that is done or of a ResultList.

    Raises:
        AssertionError: the result is an Error, whose exception is the `__cause__`, with the traceback of the handler,
            even from a worker process; or there is not exactly one result, or the event is not done.
    """
    __tracebackhide__ = True
    result = _only(outcome)
    if isinstance(result, Error):
        raise AssertionError(f"expected Ok, got {_describe(result)}") from _cause(result)
    return result.value


def assert_all_ok(outcome: Outcome) -> dict[str | None, Any]:
    """Return the values of all results, by the keys of their collectors; at least one.

    Raises:
        AssertionError: some are Errors, which are all listed; or there is no result, or the event is not done.
    """
    __tracebackhide__ = True
    results = _results(outcome)
    failed = [result for result in results if isinstance(result, Error)]
    if failed:
        listed = "\n".join(map(_describe, failed))
        raise AssertionError(f"{len(failed)} of {len(results)} results are Errors:\n{listed}") from _cause(failed[0])
    if not results:
        raise AssertionError("no results: no collector was reached")
    return {result.key: result.value for result in results}


def assert_error(outcome: Outcome, kind: type[E], *, match: str | None = None) -> E:
    """Return the exception of an Error, or of the only result of an event that is done or of a ResultList.

    Args:
        outcome: the Error, the event or the ResultList.
        kind: the class of the exception.
        match: a regular expression that must be found in its text.

    Raises:
        AssertionError: the result is Ok or another Error, there is not exactly one, or the event is not done.
    """
    __tracebackhide__ = True
    result = _only(outcome)
    wanted = f"expected Error({kind.__qualname__})"
    if isinstance(result, Ok):
        raise AssertionError(f"{wanted}, got Ok({result.value!r}){_of(result)}")
    if not isinstance(result.err, kind):
        raise AssertionError(f"{wanted}, got {_describe(result)}") from _cause(result)
    if match is not None and re.search(match, str(result.err)) is None:
        raise AssertionError(f"{match!r} is not found in {str(result.err)!r}") from result.err
    return result.err


def _only(outcome: Outcome) -> Result[Any]:
    results = _results(outcome)
    if len(results) != 1:
        listed = "".join(f"\n  {result!r}{_of(result)}" for result in results)
        raise AssertionError(f"expected one result, got {len(results)}{listed}")
    return results[0]


def _results(outcome: Outcome) -> ResultList:
    if isinstance(outcome, (Ok, Error)):
        return ResultList((outcome,))
    if isinstance(outcome, CollectorEvent):
        results = outcome.get_result()
        if results is None:
            raise AssertionError(f"event {outcome.id} is not done: `await event.wait()` first")
        return results
    if isinstance(outcome, ResultList):
        return outcome
    raise TypeError(
        f"expected an event, a ResultList or a result, not {type(outcome).__name__}; a coroutine has to be awaited"
    )


def _of(result: Result[Any]) -> str:
    return "" if result.key is None else f" of collector {result.key!r}"


def _describe(result: Error[Any]) -> str:
    return f"Error({result.err!r}){_of(result)}"


def _cause(result: Error[Any]) -> BaseException | None:
    return result.err if isinstance(result.err, BaseException) else None
