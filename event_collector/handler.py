"""What a handler is, found by looking at it: coroutine function or plain, and which types it speaks of."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from event_collector.data import Error, Ok, Payload
from event_collector.exceptions import ConfigError

__all__ = ["describe", "is_asynchronous", "payload_type_of", "result_type_of"]

_NOTHING: Any = inspect.Parameter.empty


def describe(processor: Callable[..., Any]) -> str:
    """Return the name of a handler for logs and errors."""
    return getattr(processor, "__qualname__", None) or repr(processor)


def is_asynchronous(processor: Callable[..., Any]) -> bool:
    """Return whether calling the handler gives something to await.

    Coroutine functions are recognised under functools.partial and functools.wraps, as bound methods and as
    the `__call__` of an object; anything else only by a return annotation such as Awaitable[Result].
    """
    call = _function(processor)
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(inspect.unwrap(call)):
        return True
    return _is_awaitable(_annotation(call, "return"))


def payload_type_of(processor: Callable[..., Any]) -> Any:
    """Return Order for a handler whose first parameter is annotated `Payload[Order]`, else Any.

    Raises:
        ConfigError: the annotation names something that cannot be found at run time.

    """
    call = _function(processor)
    try:
        parameters = list(inspect.signature(processor).parameters)  # without those that a partial has bound
    except (TypeError, ValueError):  # built in, no signature to read
        return Any
    if not parameters:
        return Any
    annotation = _annotation(call, parameters[0])
    if isinstance(annotation, str) and annotation.partition("[")[0].endswith("Payload") and "[" in annotation:
        raise ConfigError(
            f"the annotation {annotation!r} of handler {describe(processor)} cannot be resolved at run time: "
            f"import its names outside of `if TYPE_CHECKING:`, or pass payload_type= to the Collector"
        )
    return _argument(annotation, Payload)


def result_type_of(processor: Callable[..., Any]) -> Any:
    """Return Receipt for a handler annotated `-> Ok[Receipt]`, `-> Result[Receipt]` or `-> Receipt`, else Any.

    Within `Awaitable[...]` or `Coroutine[...]` the same counts.
    """
    annotation = _annotation(_function(processor), "return")
    if _is_awaitable(annotation):
        annotation = (get_args(annotation) or (_NOTHING,))[-1]
    if annotation is _NOTHING or isinstance(annotation, str) or annotation in (Ok, Error, Ok | Error):
        return Any
    members = get_args(annotation) if _is_union(annotation) else (annotation,)
    if any((get_origin(member) or member) in (Ok, Error) for member in members):
        return next((found for m in members if (found := _argument(m, Ok)) is not Any), Any)
    return Any if isinstance(annotation, TypeVar) else annotation


def _function(processor: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(processor, functools.partial):
        processor = processor.func
    if inspect.isroutine(processor) or inspect.isclass(processor):
        return processor
    return processor.__call__  # type: ignore[operator,no-any-return]  # an object: its bound method


def _annotation(call: Callable[..., Any], name: str) -> Any:
    """Return one annotation, evaluated; as text when it cannot be, so that the others do not matter."""
    function = inspect.unwrap(call)
    function = getattr(function, "__func__", function)
    annotation = getattr(function, "__annotations__", {}).get(name, _NOTHING)
    if annotation is _NOTHING:
        return annotation
    try:
        alone = SimpleNamespace(__annotations__={name: annotation})
        return get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True)[name]
    except Exception:
        return annotation


def _is_awaitable(annotation: Any) -> bool:
    returns = get_origin(annotation) or annotation
    return isinstance(returns, type) and issubclass(returns, Awaitable)


def _argument(annotation: Any, generic: type) -> Any:
    if get_origin(annotation) is not generic:
        return Any
    (argument,) = get_args(annotation)[:1]
    return Any if isinstance(argument, TypeVar) else argument


def _is_union(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin is Union or getattr(origin, "__name__", "") == "UnionType"
