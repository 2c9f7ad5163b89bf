"""The values that travel: payloads on their way to handlers, results on their way back."""

import math
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from copy import copy
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, SupportsIndex, TypeAlias, overload

import msgspec
from msgspec.structs import replace

from event_collector.exceptions import ConfigError

__all__ = ["Context", "Delivery", "Error", "Ok", "Payload", "Record", "Result", "ResultList", "abind"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from event_collector.collector import Collector

    T = TypeVar("T", default=Any)
    E = TypeVar("E", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")
    E = TypeVar("E")

Record: TypeAlias = dict[str, Any]


class Delivery(Enum):
    """Which collectors a payload goes to."""

    BROADCAST = 0
    """Every collector."""
    KEY = 1
    """The collectors that the payload's `keys` name."""
    TOPIC = 2
    """The collectors subscribed to any of the payload's `topics`."""


_BROADCAST = Delivery.BROADCAST


def names(what: str, value: Iterable[object] | None) -> tuple[str, ...]:
    """Return a sequence of strings as a tuple; `what` is its name in the error.

    Raises:
        ConfigError: for a bare string, which would be taken letter by letter, and for anything but strings.

    """
    if value is None:
        return ()
    if isinstance(value, str):
        raise ConfigError(f"{what} takes a list of strings, not the string {value!r}: write [{value!r}]")
    given = tuple(value)
    strings = tuple(name for name in given if isinstance(name, str))
    if len(strings) != len(given):
        raise ConfigError(f"{what} takes a list of strings, not {list(given)!r}")
    return strings


def _checked_priority(priority: object) -> float | None:
    if priority is None or (isinstance(priority, (int, float)) and not math.isnan(priority)):
        return priority
    raise ConfigError(f"priority takes a number, the lowest first, not {priority!r}")


def _check_delivery(delivery: object) -> None:
    if not isinstance(delivery, Delivery):
        raise ConfigError(f"delivery takes a Delivery such as Delivery.KEY, not {delivery!r}")


class Headers(msgspec.Struct, frozen=True):
    """What is known of a payload besides its value and its delivery; see the properties of Payload."""

    keys: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    priority: float | None = None
    attempt: int = 1
    last_error: str | None = None
    event_id: int | None = None
    message_id: str | None = None
    origin: int | None = None
    """The line of input that it was, if the command sent it; a journal keeps it."""


NO_HEADERS = Headers()
"""Most payloads share these."""


class Payload(Generic[T]):
    """What a handler receives: the value that was sent, and where it was to go.

    Args:
        value: the value itself; a coroutine handler gets this very object, a worker process a decoded copy.
        delivery: BROADCAST to every collector, KEY to those in `keys`, TOPIC to the subscribers of `topics`.
        keys: collector keys for KEY delivery; unknown ones are skipped.
        topics: topics for TOPIC delivery.
        priority: the lowest goes first in a PRIORITY queue; None means the queue's `default_priority`.

    Raises:
        ConfigError: for keys or topics that are no list of strings, an unknown delivery, or a priority that
            is no number.

    """

    __slots__ = ("_headers", "_value", "delivery")

    def __init__(
        self,
        value: T,
        delivery: Delivery = _BROADCAST,
        keys: Sequence[str] | None = None,
        topics: Sequence[str] | None = None,
        priority: float | None = None,
    ) -> None:
        self._value = value
        self.delivery = delivery
        if delivery is not _BROADCAST:
            _check_delivery(delivery)
        if keys is None and topics is None and priority is None:
            self._headers = NO_HEADERS
        else:
            self._headers = Headers(
                names("Payload keys", keys), names("Payload topics", topics), _checked_priority(priority)
            )

    @property
    def value(self) -> T:
        """The value that was sent; it cannot be replaced."""
        return self._value

    @property
    def keys(self) -> list[str]:
        """The keys of the collectors it is meant for, with KEY delivery."""
        return list(self._headers.keys)

    @keys.setter
    def keys(self, keys: Sequence[str]) -> None:
        self._note(keys=names("Payload keys", keys))

    @property
    def topics(self) -> list[str]:
        """The topics it is published under, with TOPIC delivery."""
        return list(self._headers.topics)

    @topics.setter
    def topics(self, topics: Sequence[str]) -> None:
        self._note(topics=names("Payload topics", topics))

    @property
    def priority(self) -> float | None:
        """Its place in a PRIORITY queue, lowest first; None for the queue's default."""
        return self._headers.priority

    @priority.setter
    def priority(self, priority: float | None) -> None:
        self._note(priority=_checked_priority(priority))

    @property
    def attempt(self) -> int:
        """The number of this attempt of the handler: 1, or more where the collector has `retry=` and failed before."""
        return self._headers.attempt

    @property
    def last_error(self) -> str | None:
        """How the attempt before failed: the class of the exception and what it says; None in the first attempt."""
        return self._headers.last_error

    @property
    def event_id(self) -> int | None:
        """The id of its event in a queue with a journal, None in others: the same whenever the event is run again.

        Within one journal no two events have the same: a handler that must not take effect twice can tell by it.
        """
        return self._headers.event_id

    @property
    def message_id(self) -> str | None:
        """The id of the message that it came in, from a source such as JetStreamSource; None elsewhere.

        The same whenever the message is delivered again, here or on another machine: a handler that must not take
        effect twice can tell by it.
        """
        return self._headers.message_id

    def set_delivery(
        self, delivery: Delivery, keys: Sequence[str] | None = None, topics: Sequence[str] | None = None
    ) -> None:
        """Say anew which collectors it goes to; keys and topics that are not given stay.

        Raises:
            ConfigError: for keys or topics that are no list of strings, or an unknown delivery.

        """
        _check_delivery(delivery)
        if keys is not None:
            self.keys = keys
        if topics is not None:
            self.topics = topics
        self.delivery = delivery

    def set_priority(self, priority: float | None) -> None:
        """Give it another place in a PRIORITY queue; events already sent keep theirs.

        Raises:
            ConfigError: if it is not a number, or not a number that can be ordered (NaN).

        """
        self.priority = priority

    def _note(self, **headers: Any) -> None:
        self._headers = replace(self._headers, **headers)

    def __repr__(self) -> str:
        return (
            f"<Payload value={self._value!r} delivery={self.delivery.name} keys={self.keys}"
            f" topics={self.topics} priority={self.priority}>"
        )


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


class Context:
    """What a collector's handler and lifecycle share: names with values, as attributes or as items."""

    def __init__(self, data: Record | None = None) -> None:
        if data is not None:
            self.__dict__ = data  # the very dict: its owner sees what handlers put there

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None: ...
        def __delattr__(self, name: str) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the context has no {name!r}; it has {sorted(self.__dict__)}")

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        del self.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __len__(self) -> int:
        return len(self.__dict__)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"


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
