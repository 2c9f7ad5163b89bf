"""What a handler is, found by looking at it: coroutine function or plain, and which types it speaks of."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload
from event_collector.values.results import Error, Ok

__all__ = [
    "classes_of",
    "describe",
    "is_asynchronous",
    "overdue",
    "payload_type_of",
    "result_type_of",
    "takes_value",
]

_NOTHING: Any = inspect.Parameter.empty

TWO_FORMS: Final = "with one value or with a payload and its context: write `(value)`, or `(payload, ctx)`"


def describe(processor: Callable[..., Any]) -> str:
    """Return the name of a handler for logs and errors."""
    return getattr(processor, "__qualname__", None) or repr(processor)


def overdue(key: str, processor: Callable[..., Any], timeout: float | None) -> str:
    """Return what there is to say of a handler that ran longer than its collector allows."""
    return f"collector {key!r}: {describe(processor)} took longer than its timeout of {timeout} s"


def is_asynchronous(processor: Callable[..., Any]) -> bool:
    """Return whether calling the handler gives something to await.

    Coroutine functions are recognised under functools.partial and functools.wraps, as bound methods and as
    the `__call__` of an object; anything else only by a return annotation such as Awaitable[Result].
    """
    call = _function(processor)
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(inspect.unwrap(call)):
        return True
    return _is_awaitable(_annotation(call, "return"))


def takes_value(processor: Callable[..., Any], owner: str) -> bool:
    """Return whether a handler takes the value alone, rather than the payload and the context.

    Args:
        processor: the handler. One that can be called with two arguments gets payload and context.
        owner: whose handler it is, for errors.

    Raises:
        ConfigError: it can be called with neither one argument nor two, or leaves open what they are to be.

    """
    signature = _signature(processor)
    if signature is None:
        return False
    forwards = _is_wrapper(processor) and not _passes_on(
        processor
    )  # it has parameters of its own, and knows why
    said = f"{owner}: {describe(processor)}{_without_annotations(signature)}"
    place = describe(processor).split(".")[-2:]
    if (
        "self" in signature.parameters
        and inspect.isfunction(processor)
        and place[:-1] not in ([], ["<locals>"])
    ):
        raise ConfigError(
            f"{said} is a method without its object: give the bound method, {'(...).'.join(place)}"
        )
    if not _binds(signature, 1) and not _binds(signature, 2):
        raise ConfigError(
            f"{said} cannot be a handler, which is called {TWO_FORMS}; bind the rest with functools.partial"
        )
    first, second = _first_two(signature)
    if _binds(signature, 2):
        if not forwards:
            _refuse_ambiguity(processor, first, second, said)
        return False
    if not forwards and _names(_annotated(processor, first), Payload):
        raise ConfigError(
            f"{said} takes a payload without the context: write `({first.name}: Payload[...], ctx: Context)`, or "
            f"annotate {first.name} with the type of the value, which a handler of one parameter gets"
        )
    return True


def _refuse_ambiguity(processor: Callable[..., Any], first: Any, second: Any, said: str) -> None:
    """Raise ConfigError if a handler that would get payload and context seems to expect something else."""
    annotation = _annotated(processor, first)
    if _rules_out(annotation, Payload):
        shown = type_name(annotation)
        raise ConfigError(
            f"{said} takes two arguments, so it gets the payload and the context, but the first is annotated "
            f"{shown}: write `({first.name}: Payload[{shown}], ctx: Context)`, whose value is {first.name}.value, "
            f"or take the value alone, `({first.name}: {shown})`"
        )
    if second.default is _NOTHING or _names(_annotated(processor, second), Context):
        return
    if second.default is not None or _rules_out(_annotated(processor, second), Context):
        raise ConfigError(
            f"{said} leaves open whether {second.name!r} is the context: annotate it as Context, or write `*, "
            f"{second.name}` for a handler that takes the value alone"
        )


def payload_type_of(processor: Callable[..., Any]) -> Any:
    """Return Order for a handler whose first parameter is annotated `Payload[Order]`, else Any.

    Of one that takes the value alone, the first parameter's annotation is the type.

    Raises:
        ConfigError: the annotation names something that cannot be found at run time.

    """
    signature = _signature(processor)
    if signature is None or not signature.parameters:  # built in, without a signature to read
        return Any
    told = inspect.signature(processor)  # of a wrapper, what it wraps: that has the annotations
    annotation = _annotated(processor, _first_two(told)[0]) if told.parameters else _NOTHING
    alone = not _binds(signature, 2) and not _names(annotation, Payload)
    if isinstance(annotation, str) and (alone or (_names(annotation, Payload) and "[" in annotation)):
        raise ConfigError(
            f"the annotation {annotation!r} of handler {describe(processor)} cannot be resolved at run time: "
            f"import its names outside of `if TYPE_CHECKING:`, or pass payload_type= to the Collector"
        )
    if alone:
        return Any if annotation is _NOTHING or isinstance(annotation, TypeVar) else annotation
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


def _signature(processor: Callable[..., Any]) -> inspect.Signature | None:
    """Return how it can be called, without what a partial has bound; None of what is built in and does not tell.

    That is its own signature, which may differ from that of a function it wraps. One that takes whatever comes can be
    called as the wrapped one can.
    """
    try:
        told = inspect.signature(processor)
        if _passes_on(processor) and (_binds(told, 1) or _binds(told, 2)):
            return told
        return inspect.signature(processor, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _is_wrapper(processor: Callable[..., Any]) -> bool:
    call = _function(processor)
    return inspect.unwrap(call) is not call


def _passes_on(processor: Callable[..., Any]) -> bool:
    """Return whether it takes any number of arguments."""
    own = inspect.signature(processor, follow_wrapped=False)
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in own.parameters.values())


def _without_annotations(signature: inspect.Signature) -> inspect.Signature:
    bare = [parameter.replace(annotation=_NOTHING) for parameter in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=_NOTHING)


def _binds(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True


def _first_two(signature: inspect.Signature) -> tuple[inspect.Parameter, inspect.Parameter]:
    """Return the parameters that two positional arguments would reach; one is both if it takes any number."""
    first, *others = signature.parameters.values()
    return first, others[0] if others and first.kind is not first.VAR_POSITIONAL else first


def _annotated(processor: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    return _annotation(_function(processor), parameter.name)


def _names(annotation: Any, kind: type) -> bool:
    """Return whether an annotation asks for a `kind`; as text, by its name."""
    if isinstance(annotation, str):
        return annotation.partition("[")[0].endswith(kind.__name__)
    return any(isinstance(one, type) and issubclass(one, kind) for one in classes_of(annotation))


def _rules_out(annotation: Any, kind: type) -> bool:
    """Return whether an annotation asks for what a `kind` cannot be."""
    return all(
        isinstance(one, type)
        and one not in (_NOTHING, Any)  # both are classes, the second from Python 3.11 on
        and not getattr(one, "_is_protocol", False)  # most cannot be asked for their subclasses
        and not issubclass(one, kind)
        and not issubclass(kind, one)
        for one in classes_of(annotation)
    )


def classes_of(annotation: Any) -> list[Any]:
    """Return the classes that an annotation names, without their arguments; other things as they are."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    members = get_args(annotation) if _is_union(annotation) else (annotation,)
    return [get_origin(member) or member for member in members]


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


def type_name(value_type: Any) -> str:
    """Return what an error calls a type."""
    return value_type.__qualname__ if isinstance(value_type, type) else str(value_type)
