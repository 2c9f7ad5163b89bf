"""The signature of a handler: coroutine function or plain, its parameters, and the types of payload and result."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload
from event_collector.values.results import Error, Ok

_NOTHING: Any = inspect.Parameter.empty

TWO_FORMS: Final = "with one value or with a payload and its context: write `(value)`, or `(payload, ctx)`"


def describe(processor: Callable[..., Any]) -> str:
    """Return the name of a handler, for logs and errors."""
    return getattr(processor, "__qualname__", None) or repr(processor)


def describe_timeout(key: str, processor: Callable[..., Any], timeout: float | None) -> str:
    """Return the message of HandlerTimeout."""
    return f"collector {key!r}: {describe(processor)} took longer than its timeout of {timeout} s"


def is_asynchronous(processor: Callable[..., Any]) -> bool:
    """Return whether the handler returns an awaitable.

    Coroutine functions are recognised within functools.partial and functools.wraps, as bound methods and as the
    `__call__` of an object; other callables only by a return annotation such as Awaitable[Result].
    """
    call = _function(processor)
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(inspect.unwrap(call)):
        return True
    return _is_awaitable(_annotation(call, "return"))


def takes_value(processor: Callable[..., Any], owner: str) -> bool:
    """Return whether a handler takes the value alone. If it can be called with two arguments, it does not.

    Raise ConfigError, with the `owner`, if it can be called with neither one nor two, or if its form is ambiguous.
    """
    signature = _signature(processor)
    if signature is None:
        return False
    # A wrapper with parameters of its own has the annotations of the function it wraps: they do not apply to it.
    annotated = not _is_wrapper(processor) or _takes_any_arguments(processor)
    handler = f"{owner}: {describe(processor)}{_without_annotations(signature)}"
    path = describe(processor).split(".")[-2:]
    is_method = inspect.isfunction(processor) and path[:-1] not in ([], ["<locals>"])
    if is_method and "self" in signature.parameters:
        raise ConfigError(f"{handler} is a method without its object: give the bound method, {'(...).'.join(path)}")
    if not _binds(signature, 1) and not _binds(signature, 2):
        raise ConfigError(
            f"{handler} cannot be a handler, which is called {TWO_FORMS}; bind the rest with functools.partial"
        )
    first, second = _first_two(signature)
    if _binds(signature, 2):
        if annotated:
            _refuse_ambiguity(processor, first, second, handler)
        return False
    if annotated and _mentions(_annotated(processor, first), Payload):
        raise ConfigError(
            f"{handler} takes a payload without the context: write `({first.name}: Payload[...], ctx: Context)`, or "
            f"annotate {first.name} with the type of the value, which a handler of one parameter gets"
        )
    return True


def _refuse_ambiguity(processor: Callable[..., Any], first: Any, second: Any, handler: str) -> None:
    """Raise ConfigError if the parameters of a handler may not be meant for the payload and the context."""
    annotation = _annotated(processor, first)
    if _rules_out(annotation, Payload):
        name = type_name(annotation)
        raise ConfigError(
            f"{handler} takes two arguments, so it gets the payload and the context, but the first is annotated "
            f"{name}: write `({first.name}: Payload[{name}], ctx: Context)`, whose value is {first.name}.value, "
            f"or take the value alone, `({first.name}: {name})`"
        )
    if second.default is _NOTHING or _mentions(_annotated(processor, second), Context):
        return
    if second.default is not None or _rules_out(_annotated(processor, second), Context):
        raise ConfigError(
            f"{handler} leaves open whether {second.name!r} is the context: annotate it as Context, or write `*, "
            f"{second.name}` for a handler that takes the value alone"
        )


def payload_type_of(processor: Callable[..., Any]) -> Any:
    """Return the payload type of a handler: Order for the annotation `Payload[Order]` of the first parameter, else Any.

    For a handler that takes the value alone, it is the annotation of the first parameter. Raise ConfigError if that
    cannot be resolved at run time.
    """
    signature = _signature(processor)
    if signature is None or not signature.parameters:  # a built-in function without a signature
        return Any
    wrapped = inspect.signature(processor)  # follows wrappers to the function that has the annotations
    annotation = _annotated(processor, _first_two(wrapped)[0]) if wrapped.parameters else _NOTHING
    alone = not _binds(signature, 2) and not _mentions(annotation, Payload)
    if isinstance(annotation, str) and (alone or (_mentions(annotation, Payload) and "[" in annotation)):
        raise ConfigError(
            f"the annotation {annotation!r} of handler {describe(processor)} cannot be resolved at run time: "
            f"import its names outside of `if TYPE_CHECKING:`, or pass payload_type= to the Collector"
        )
    if alone:
        return Any if annotation is _NOTHING or isinstance(annotation, TypeVar) else annotation
    return _argument(annotation, Payload)


def result_type_of(processor: Callable[..., Any]) -> Any:
    """Return the result type: Receipt for `-> Ok[Receipt]`, `-> Result[Receipt]` or `-> Receipt`, else Any.

    `Awaitable[...]` and `Coroutine[...]` around the annotation are ignored.
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
    return processor.__call__  # type: ignore[operator,no-any-return]  # the bound method of an object


def _signature(processor: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature without the arguments that a partial binds; None for a built-in function without one.

    A wrapper may have another signature than the function it wraps, and its own one counts. A wrapper that takes any
    arguments has the signature of the wrapped function.
    """
    try:
        wrapped = inspect.signature(processor)
        if _takes_any_arguments(processor) and (_binds(wrapped, 1) or _binds(wrapped, 2)):
            return wrapped
        return inspect.signature(processor, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _is_wrapper(processor: Callable[..., Any]) -> bool:
    call = _function(processor)
    return inspect.unwrap(call) is not call


def _takes_any_arguments(processor: Callable[..., Any]) -> bool:
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
    """Return the parameters of two positional arguments, which may be the same one, like `*args`."""
    first, *others = signature.parameters.values()
    return first, others[0] if others and first.kind is not first.VAR_POSITIONAL else first


def _annotated(processor: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    return _annotation(_function(processor), parameter.name)


def _mentions(annotation: Any, kind: type) -> bool:
    """Return whether an annotation contains `kind` or a subclass; an annotation that is text, by name."""
    if isinstance(annotation, str):
        return annotation.partition("[")[0].endswith(kind.__name__)
    return any(isinstance(one, type) and issubclass(one, kind) for one in classes_of(annotation))


def _rules_out(annotation: Any, kind: type) -> bool:
    """Return whether no instance of `kind` can fit an annotation."""
    return all(
        isinstance(one, type)
        and one not in (_NOTHING, Any)  # both are classes
        and not getattr(one, "_is_protocol", False)  # most do not support issubclass()
        and not issubclass(one, kind)
        and not issubclass(kind, one)
        for one in classes_of(annotation)
    )


def classes_of(annotation: Any) -> list[Any]:
    """Return the members of an annotation, without type arguments: its classes, and forms that are no classes."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    members = get_args(annotation) if _is_union(annotation) else (annotation,)
    return [get_origin(member) or member for member in members]


def _annotation(call: Callable[..., Any], name: str) -> Any:
    """Return one evaluated annotation, or its text if it cannot be resolved. Other annotations need not resolve."""
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
    """Return the name of a type in error messages."""
    return value_type.__qualname__ if isinstance(value_type, type) else str(value_type)
