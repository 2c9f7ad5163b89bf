"""Batch handlers: the limits of a batch, and what the signature of such a handler says about one event of it."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Set, Sized
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from event_collector.handlers.signature import (
    annotation_of,
    classes_of,
    describe,
    is_no_payload_type,
    is_payload_type,
    takes_value,
    type_name,
)
from event_collector.handlers.value_handler import ONE_EACH
from event_collector.values.checks import LONGEST, is_number
from event_collector.values.errors import ConfigError

_EMPTY: Final = inspect.Parameter.empty

_NO_LISTS: Final = (str, bytes, bytearray, memoryview, Mapping, Set)
"""Classes with a length whose items are no results."""


@dataclass(frozen=True, slots=True)
class Batch:
    """How events are collected for one call of a batch handler.

    A call begins when `max_size` events are there, `max_wait` after the first of them, or when no other event can
    come: the queue has no permit left, or its shutdown has begun and nothing else waits.

    Args:
        max_size: maximum number of events in a call; a whole number, at least 1.
        max_wait: time for which the first event of a call waits for others. 0 takes those that are sent in the same
            turn of the event loop. In seconds, 0 or more.

    Raises:
        ConfigError: a value is out of range.
    """

    max_size: int = 64
    max_wait: float = 0.02

    def __post_init__(self) -> None:
        size: Any = self.max_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"Batch(max_size=...) takes a whole number from 1 on, not {size!r}")
        if not is_number(self.max_wait) or not 0 <= self.max_wait <= LONGEST:
            raise ConfigError(f"Batch(max_wait=...) takes a number of seconds from 0 on, not {self.max_wait!r}")


class BatchSignature:
    """What a batch handler takes and returns for one event.

    Args:
        handler: `(values) -> results` or `(payloads, ctx) -> results`, with a list of values, payloads and results.
        owner: its collector, for errors.

    Attributes:
        takes_values: whether it has the first form.
        of_one: a function with the signature that the handler would have for one event. It is never called.

    Raises:
        ConfigError: the handler has neither form, or an annotation says that it takes or returns no list.
    """

    def __init__(self, handler: Callable[..., Any], owner: str) -> None:
        name = f"{owner}: {describe(handler)}"
        _refuse_generator(handler, name)
        try:
            signature = inspect.signature(handler)
        except (TypeError, ValueError):
            takes_value(handler, owner)  # says what is missing
            raise ConfigError(f"{name} has no signature that can be read") from None
        annotations = {each: annotation_of(handler, each) for each in (*signature.parameters, "return")}
        first = next(iter(signature.parameters), "")
        item = _item_of(annotations.get(first, _EMPTY), first, name)
        annotations[first] = _EMPTY  # it is judged here: the messages for one event would not fit
        self.takes_values = takes_value(_outline(handler, signature, annotations), owner)
        _check_payloads(item, first, name, alone=self.takes_values)
        annotations[first] = item
        annotations["return"] = _result_of(annotations["return"], name)
        self.of_one = _outline(handler, signature, annotations)


def _outline(
    handler: Callable[..., Any], signature: inspect.Signature, annotations: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return a function with this signature and the name of the handler."""

    def outline(*_: Any) -> None:
        """Stand for the handler."""

    outline.__qualname__ = describe(handler)
    outline.__module__ = getattr(handler, "__module__", __name__)
    outline.__annotations__ = {name: kind for name, kind in annotations.items() if kind is not _EMPTY}
    outline.__signature__ = signature  # type: ignore[attr-defined]
    return outline


def _refuse_generator(handler: Callable[..., Any], name: str) -> None:
    for call in (handler, getattr(handler, "__call__", None)):  # noqa: B004 - its own, to look at it
        if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            raise ConfigError(f"{name} is a generator function, which cannot be a batch handler: {ONE_EACH}")


def _item_of(annotation: Any, parameter: str, name: str) -> Any:
    """Return the annotation of one item of the list that a batch handler takes.

    Raises:
        ConfigError: no list fits the annotation.
    """
    if annotation in (_EMPTY, Any) or isinstance(annotation, (str, TypeVar)):
        return annotation
    for kind in _members(annotation):
        origin = get_origin(kind) or kind
        if origin in (Any, object):
            return _EMPTY
        if isinstance(origin, type) and issubclass(list, origin) and issubclass(origin, Iterable):
            return (get_args(kind) or (_EMPTY,))[0]
    raise ConfigError(
        f"{name} is a batch handler, which takes a list, but its parameter is annotated {type_name(annotation)}: write "
        f"`({parameter}: list[{type_name(annotation)}])`, or give the collector no batch="
    )


def _check_payloads(item: Any, parameter: str, name: str, *, alone: bool) -> None:
    """Raise ConfigError if a batch handler of this form does not get what its annotation says."""
    if alone and item is not _EMPTY and is_payload_type(item):
        raise ConfigError(
            f"{name} takes payloads without the context: write `({parameter}: list[Payload[...]], ctx: Context)`, or "
            f"annotate {parameter} with a list of values, which a handler of one parameter gets"
        )
    if not alone and is_no_payload_type(item):
        raise ConfigError(
            f"{name} takes two arguments, so it gets payloads and the context, but the first is annotated "
            f"list[{type_name(item)}]: write `({parameter}: list[Payload[{type_name(item)}]], ctx: Context)`, or take "
            f"the values alone, `({parameter}: list[{type_name(item)}])`"
        )


def _result_of(annotation: Any, name: str) -> Any:
    """Return the annotation of one result of a batch handler.

    Raises:
        ConfigError: the annotation says that it returns no list.
    """
    if annotation in (_EMPTY, Any) or isinstance(annotation, (str, TypeVar)):
        return _EMPTY
    for kind in _members(annotation):
        origin, arguments = get_origin(kind) or kind, get_args(kind)
        if origin in (Any, object):
            return _EMPTY
        if isinstance(origin, type) and not issubclass(origin, _NO_LISTS):
            is_list = len(arguments) == 1 or (origin is tuple and arguments[1:] == (...,))
            if origin is Iterable or issubclass(origin, Sized):
                return arguments[0] if is_list else _EMPTY
    raise ConfigError(
        f"{name} is a batch handler, which returns a list, but is annotated to return {type_name(annotation)}: "
        f"{ONE_EACH}"
    )


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, or the annotation itself, without `Annotated` around it."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return list(get_args(annotation)) if len(classes_of(annotation)) > 1 else [annotation]
