"""The values that travel: payloads on their way to handlers, results on their way back."""

import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, SupportsIndex, overload

import msgspec

from event_collector.values.context import Record

__all__ = ["Error", "Ok", "Record", "Result", "ResultList", "abind"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from event_collector.handlers.collector import Collector

    T = TypeVar("T", default=Any)
    E = TypeVar("E", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")
    E = TypeVar("E")


class _FromCollector(msgspec.Struct, eq=False, kw_only=True):
    key: str | None = None
    """The key of the collector whose handler gave this result; None outside a queue."""


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

    `err` is the exception, or whatever the handler put there. `details` of an exception that left a handler
    has the keys func, args, kwargs, exc and trace (the traceback as text).
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
        """Raise the exception; anything else is raised as a RuntimeError with its text."""
        if isinstance(self.err, BaseException):
            raise self.err
        raise RuntimeError(str(self.err))

    def __repr__(self) -> str:
        return f"<Error err={self.err!r} details={self.details!r}>"


Result = Ok[T] | Error[Any]
"""What a handler answers: `Result`, or `Result[Receipt]`, in an annotation."""


class ResultList(list[Result[Any]]):
    """The results of one event, one for each collector it reached, in the order of their registration."""

    __slots__ = ("_reason",)

    _reason: str  # why there is none; most have some, and no reason

    def __init__(self, results: Iterable[Result[Any]] | None = None) -> None:
        super().__init__(results or ())

    @classmethod
    def none(cls, reason: str) -> "ResultList":
        """Return an empty list whose `first()` is an Error that says why."""
        empty = cls()
        empty._reason = reason
        return empty

    @property
    def results(self) -> list[Result[Any]]:
        """The results as a list: this object itself."""
        return self

    def first(self) -> Result[Any]:
        """Return the first result; an Error when no collector was reached."""
        if self:
            return super().__getitem__(0)
        return Error(getattr(self, "_reason", "result list is empty: no collector was reached"))

    @overload
    def of(self, collector: "Collector[Any, T]") -> "Result[T]": ...
    @overload
    def of(self, collector: str) -> Result[Any]: ...
    def of(self, collector: "Collector[Any, Any] | str") -> Result[Any]:
        """Return the result of one collector, which is given itself or by its key; of the collector's type.

        The Error of an event that ended before it reached a collector is that of each.

        Raises:
            LookupError: it has no result here.

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
        """Return another ResultList of the same results."""
        return ResultList(self)


def as_result(outcome: Any, key: str | None) -> Result[Any]:
    """Return what a handler returned as a Result that names its collector; any other value v is Ok(v)."""
    if type(outcome) is Ok and outcome.key is None:  # most are
        outcome.key = key
        return outcome
    if not isinstance(outcome, (Ok, Error)):
        return Ok(outcome, key=key)
    shared = outcome.key is not None and outcome.key != key  # one object, returned by several collectors
    result: Result[Any] = copy(outcome) if shared else outcome
    result.key = key
    return result


def single(result: Result[Any]) -> ResultList:
    """Return the ResultList of one result; twice as fast as calling the class."""
    results = new_list(ResultList)
    results.append(result)
    return results


new_list = ResultList.__new__
"""`new_list(ResultList)` is an empty one, at half the price of `ResultList()`: for what every event passes through."""


def failure(
    exc: BaseException,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Record,
    key: str | None = None,
) -> Error[BaseException]:
    """Return the Error of an exception that left `func(*args, **kwargs)`, with the details of both."""
    try:
        trace = "".join(traceback.format_exception(exc))
    except (
        Exception
    ) as problem:  # an exception may say what no traceback can be made of; it counts all the same
        trace = (
            f"{type(exc).__qualname__}, of which no traceback can be shown: {type(problem).__qualname__}\n"
        )
    details = {"func": func, "args": args, "kwargs": kwargs, "exc": exc, "trace": trace}
    return Error(exc, details, key=key)


async def abind(f: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Result[Any]:
    """Await `f(*args, **kwargs)` and return its outcome as a Result.

    Ok and Error come back as they are, any other value v as Ok(v), an exception e as Error(e) with details.
    CancelledError (like every exception that is no `Exception`) passes through.
    """
    try:
        outcome = await f(*args, **kwargs)
    except Exception as exc:
        return failure(exc, f, args, kwargs)
    return outcome if isinstance(outcome, (Ok, Error)) else Ok(outcome)
