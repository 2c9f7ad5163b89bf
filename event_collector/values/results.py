"""Results: the outcome of a handler, and the list of results of an event."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, SupportsIndex, overload

import msgspec

from event_collector.values.context import Record
from event_collector_workers.error_texts import exception_text, line_of

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
    E = TypeVar("E", default=Any)
    R = TypeVar("R", default=Any, covariant=True)
else:
    from typing import TypeVar

    T = TypeVar("T")
    E = TypeVar("E")
    R = TypeVar("R", covariant=True)


class Keyed(Generic[R]):
    """The base of Collector: an object whose results have this key and values of type R."""

    key: str


class _FromCollector(msgspec.Struct, eq=False, kw_only=True):
    key: str | None = None
    """The key of the collector that produced this result; None outside a queue."""


class Ok(_FromCollector, Generic[T], eq=False):
    """The result of a handler that succeeded. In a `match` statement: `case Ok(value)`."""

    value: T
    is_error: ClassVar[bool] = False

    def ok(self) -> bool:
        """True: this is a success."""
        return True

    def error(self) -> bool:
        """False: this is a success."""
        return False

    def unwrap(self) -> T:
        """Return the value."""
        return self.value

    def __repr__(self) -> str:
        return f"<Ok value={self.value!r}>"


class Error(_FromCollector, Generic[E], eq=False):
    """The result of a handler that failed. In a `match` statement: `case Error(err)`.

    `err` is the exception that the handler raised, or the object that it passed to Error. For a raised exception
    `details` has the keys func, args, kwargs, exc and trace (the traceback as text).
    """

    err: E
    details: Record | None = None
    is_error: ClassVar[bool] = True

    @property
    def value(self) -> None:
        """None: an error has no value."""

    def ok(self) -> bool:
        """False: this is a failure."""
        return False

    def error(self) -> bool:
        """True: this is a failure."""
        return True

    def unwrap(self) -> NoReturn:
        """Raise `err` if it is an exception, else a RuntimeError with its text."""
        raise error_of(self)

    def __repr__(self) -> str:
        details: Any = self.details
        if isinstance(details, dict):
            details = {name: value for name, value in details.items() if name not in _OF_RAISED}
        return f"<Error err={line_of(self.err)}{f' details={line_of(details)}' if details else ''}>"


_OF_RAISED = frozenset(("func", "args", "kwargs", "exc", "trace"))
"""The details of each exception that was raised; see `failure()`."""

Result = Ok[T] | Error[Any]
"""The return annotation of a handler: `Result`, or `Result[Receipt]`."""


_EMPTY = "result list is empty: no collector was reached"


class ResultList(list[Result[Any]]):
    """The results of one event: one for each collector it reached, in the order of registration."""

    __slots__ = ("_reason",)

    _reason: str  # why the list is empty; set by none() only

    def __init__(self, results: Iterable[Result[Any]] | None = None) -> None:
        super().__init__(results or ())

    @classmethod
    def none(cls, reason: str) -> "ResultList":
        """Return an empty list whose `first()` is Error(reason)."""
        empty = cls()
        empty._reason = reason
        return empty

    @property
    def results(self) -> list[Result[Any]]:
        """The list itself."""
        return self

    def first(self) -> Result[Any]:
        """Return the first result, or an Error if no collector was reached."""
        if self:
            return super().__getitem__(0)
        return Error(getattr(self, "_reason", _EMPTY))

    def only(self) -> Result[Any]:
        """Return the result of an event that reached one collector.

        Raises:
            LookupError: there are several results, or no collector was reached.
        """
        if len(self) == 1:
            return super().__getitem__(0)
        if self:
            keys = [result.key for result in self]
            raise LookupError(f"the event has {len(self)} results, of {keys}: take one with of(), or all with unwrap()")
        raise LookupError(getattr(self, "_reason", _EMPTY))

    def unwrap(self) -> list[Any]:
        """Return the values of all results, in their order.

        Raises:
            ExceptionGroup: some are errors. It has the exception of each; an `err` that is none comes as RuntimeError.
        """
        failed = [error_of(result) for result in self if isinstance(result, Error)]
        if failed:
            raise BaseExceptionGroup(f"{len(failed)} of {len(self)} collectors failed", failed)
        return [result.value for result in self]

    @overload
    def of(self, collector: Keyed[T]) -> "Result[T]": ...
    @overload
    def of(self, collector: str) -> Result[Any]: ...
    def of(self, collector: Keyed[Any] | str) -> Result[Any]:
        """Return the result of a collector, with the collector's result type for type checkers.

        An event that ended before it reached a collector has one Error, which is returned for every collector.

        Args:
            collector: the Collector or its key.

        Raises:
            LookupError: the list has no result of this collector.
        """
        wanted = collector if isinstance(collector, str) else collector.key
        for result in self:
            if result.key == wanted or (result.key is None and result.is_error and len(self) == 1):
                return result
        raise LookupError(
            f"collector {wanted!r} has no result here; those that have: {[result.key for result in self]}"
        )

    def iter(self) -> Iterator[Result[Any]]:
        """Return an iterator over the results."""
        return iter(self)

    def size(self) -> int:
        """Return the number of results."""
        return len(self)

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Result[Any]: ...
    @overload
    def __getitem__(self, index: slice, /) -> "ResultList": ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> "Result[Any] | ResultList":
        found = super().__getitem__(index)
        return ResultList(found) if isinstance(found, list) else found

    def __add__(self, other: Iterable[Result[Any]], /) -> "ResultList":  # type: ignore[override]
        return ResultList((*self, *other))

    def copy(self) -> "ResultList":
        """Return a shallow copy."""
        return ResultList(self)


def error_of(result: Error[Any]) -> BaseException:
    """Return the exception of an Error; a RuntimeError with its text if `err` is none."""
    return result.err if isinstance(result.err, BaseException) else RuntimeError(str(result.err))


def as_result(outcome: Any, key: str | None) -> Result[Any]:
    """Return the outcome of a handler as a Result with the collector's key; a value v that is no Result as Ok(v)."""
    if type(outcome) is Ok and outcome.key is None:  # the most frequent case
        outcome.key = key
        return outcome
    if not isinstance(outcome, (Ok, Error)):
        return Ok(outcome, key=key)
    shared = outcome.key is not None and outcome.key != key  # several collectors returned one object
    result: Result[Any] = copy(outcome) if shared else outcome
    result.key = key
    return result


def single(result: Result[Any]) -> ResultList:
    """Return the ResultList of one result, in half the time of calling the class."""
    results = new_list(ResultList)
    results.append(result)
    return results


new_list = ResultList.__new__
"""`new_list(ResultList)` returns an empty ResultList in half the time of `ResultList()`; for the hot path."""


def failure(
    exc: BaseException, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Record, key: str | None = None
) -> Error[BaseException]:
    """Return the Error of an exception that `func(*args, **kwargs)` raised."""
    details = {"func": func, "args": args, "kwargs": kwargs, "exc": exc, "trace": exception_text(exc)}
    return Error(exc, details, key=key)


async def abind(f: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Result[Any]:
    """Await `f(*args, **kwargs)` and return its outcome as a Result.

    Ok and Error are returned unchanged, any other value v as Ok(v), an exception e as Error(e) with details.
    CancelledError, like every exception that is not an `Exception`, propagates.
    """
    try:
        outcome = await f(*args, **kwargs)
    except Exception as exc:
        return failure(exc, f, args, kwargs)
    return outcome if isinstance(outcome, (Ok, Error)) else Ok(outcome)
