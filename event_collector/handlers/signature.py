"""The signature of a handler: coroutine function or plain, its parameters, and the types of payload and result."""

import functools
import inspect
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable
from types import SimpleNamespace
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload
from event_collector.values.results import Error, Ok

_NOTHING: Any = inspect.Parameter.empty

_CACHED: Final[type] = type(functools.lru_cache(len))

TWO_FORMS: Final = "with one value or with a payload and its context: write `(value)`, or `(payload, ctx)`"


def describe(processor: Callable[..., Any]) -> str:
    """Return the name of a handler, for logs and errors."""
    return getattr(processor, "__qualname__", None) or repr(processor)


def describe_timeout(key: str, processor: Callable[..., Any], timeout: float | None) -> str:
    """Return the message of HandlerTimeout."""
    return f"collector {key!r}: {describe(processor)} took longer than its timeout of {timeout} s"


def describe_silence(key: str, processor: Callable[..., Any], heartbeat: float | None) -> str:
    """Return the message of HeartbeatTimeout."""
    return (
        f"collector {key!r}: {describe(processor)} reported no progress for its heartbeat of {heartbeat} s; "
        "a handler reports by progress()"
    )


def is_asynchronous(processor: Callable[..., Any]) -> bool:
    """Return whether the handler returns an awaitable.

    Coroutine functions are recognised within functools.partial and functools.wraps, as bound methods and as the
    `__call__` of an object; other callables only by a return annotation such as Awaitable[Result]. `async def` with
    `yield` returns an asynchronous generator, and counts as well.
    """
    innermost = _innermost(processor)
    if inspect.isasyncgenfunction(_function(processor)):
        return True
    if _is_coroutine_function(_function(processor)) or _is_coroutine_function(innermost):
        return True
    return _is_awaitable(_annotation(innermost, "return"))


def takes_value(processor: Callable[..., Any], owner: str) -> bool:
    """Return whether a handler takes the value alone. If it can be called with two arguments, it does not.

    Raise ConfigError, with the `owner`, if it can be called with neither one nor two, if its form is ambiguous or
    unknown, or if it caches what can be used once.
    """
    name = f"{owner}: {describe(processor)}"
    _refuse_results(processor, name)
    signature = _signature(processor)
    if signature is None:
        raise _unclear(f"{name} has no signature that can be read, which")
    # A wrapper with parameters of its own has the annotations of the function it wraps: they do not apply to it.
    annotated = not _is_wrapper(processor) or _takes_any_arguments(processor)
    handler = f"{name}{_without_annotations(signature)}"
    path = describe(processor).split(".")[-2:]
    is_method = inspect.isfunction(processor) and path[:-1] not in ([], ["<locals>"])
    if is_method and "self" in signature.parameters:
        bound = "; if it is bound, by singledispatchmethod for example, write a function that calls it"
        raise ConfigError(
            f"{handler} is a method without its object: give the bound method, {'(...).'.join(path)}"
            f"{bound if _is_wrapper(processor) else ''}"
        )
    if not _binds(signature, 1) and not _binds(signature, 2):
        raise ConfigError(
            f"{handler} cannot be a handler, which is called {TWO_FORMS}; bind the rest with functools.partial"
        )
    first = _first_two(signature)[0]
    if _binds(signature, 2):
        if annotated:
            _refuse_value(processor, first, handler)
        _refuse_ambiguity(processor, signature, handler, annotated=annotated)
        return False
    if annotated and _mentions(_annotated(processor, first), Payload):
        raise ConfigError(
            f"{handler} takes a payload without the context: write `({first.name}: Payload[...], ctx: Context)`, or "
            f"annotate {first.name} with the type of the value, which a handler of one parameter gets"
        )
    return True


def _refuse_results(processor: Callable[..., Any], name: str) -> None:
    """Raise ConfigError if a cache returns what the handler made for an earlier event: a coroutine or a generator."""
    is_cached = isinstance(processor, _CACHED)
    call = _innermost(processor) if is_cached else _function(processor)
    if is_cached and inspect.iscoroutinefunction(call):
        raise ConfigError(f"{name} caches coroutines, which can be awaited once: cache what the coroutine returns")
    try:
        is_cached = is_cached and _is_generator_function(call)
    except TypeError as exc:  # a mock that poses as a function
        raise _unclear(name) from exc
    if is_cached:
        raise ConfigError(f"{name} caches generators, which can be read once: cache a list of the items")


def _is_generator_function(call: Callable[..., Any]) -> bool:
    if inspect.isgeneratorfunction(call):
        return not call.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE
    return inspect.isasyncgenfunction(call)


def yields_parts(processor: Callable[..., Any]) -> bool:
    """Return whether the handler is a generator function, `def` or `async def` with `yield`: its event has parts."""
    return _is_generator_function(_function(processor))


def _refuse_value(processor: Callable[..., Any], first: inspect.Parameter, handler: str) -> None:
    """Raise ConfigError if the first of two parameters is annotated with something that no payload can be."""
    annotation = _annotated(processor, first)
    if _rules_out(annotation, Payload):
        name = type_name(annotation)
        raise ConfigError(
            f"{handler} takes two arguments, so it gets the payload and the context, but the first is annotated "
            f"{name}: write `({first.name}: Payload[{name}], ctx: Context)`, whose value is {first.name}.value, "
            f"or take the value alone, `({first.name}: {name})`"
        )


def _refuse_ambiguity(
    processor: Callable[..., Any], signature: inspect.Signature, handler: str, *, annotated: bool
) -> None:
    """Raise ConfigError if the parameters of a handler may not be meant for the payload and the context.

    Two parameters of a Python function that must be given are. Others need an annotation or a name that says so: many
    functions have an option as the second parameter, C functions and classes have two that mean something else.
    """
    first, second = _first_two(signature)
    if first.kind is first.VAR_POSITIONAL:  # the wrapped function, which takes more, may tell
        first, second = _first_two(_wrapped_signature(processor) or signature)
    annotations = [_annotated(processor, each) if annotated else _NOTHING for each in (first, second)]
    if _mentions(annotations[1], Context):
        return
    is_option = second.kind is second.VAR_POSITIONAL or second.default is not _NOTHING
    call = _function(processor)
    is_python = inspect.isfunction(getattr(call, "__func__", call))
    if not is_option and is_python:
        return
    may_be_context = second.default is None or second.default is _NOTHING
    may_be_context = may_be_context and not (is_option and _rules_out(annotations[1], Context))
    is_payload = _is_named(first, "payload") or _mentions(annotations[0], Payload)
    if may_be_context and (is_payload or _is_named(second, "ctx", "context")):
        return
    if second.kind is second.VAR_POSITIONAL or not is_python:
        raise _unclear(handler)
    raise ConfigError(
        f"{handler} leaves open whether {second.name!r} is the context: annotate it as Context, or write `*, "
        f"{second.name}` for a handler that takes the value alone. If it is not yours, call it in a function that is"
    )


def _unclear(handler: str) -> ConfigError:
    return ConfigError(
        f"{handler} leaves open whether it takes the value alone or the payload and its context: write a function that "
        f"calls it, with the parameters `(value)` or `(payload, ctx)`. A decorator needs functools.wraps, and a mock "
        f"is made by create_autospec()"
    )


def _is_coroutine_function(call: Callable[..., Any]) -> bool:
    if inspect.iscoroutinefunction(call):
        return True
    # Python 3.11 marks callables as coroutine functions for asyncio only, and Python 3.12 some mocks. A worker process
    # may not have imported it.
    asyncio = sys.modules.get("asyncio") if sys.version_info < (3, 13) else None
    return asyncio is not None and asyncio.iscoroutinefunction(call)


def _is_named(parameter: inspect.Parameter, *words: str) -> bool:
    return any(word in parameter.name.lower() for word in words)


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
    annotation = _annotation(_innermost(processor), "return")
    if _is_awaitable(annotation):
        annotation = (get_args(annotation) or (_NOTHING,))[-1]
    if annotation is _NOTHING or isinstance(annotation, str) or annotation in (Ok, Error, Ok | Error):
        return Any
    members = get_args(annotation) if _is_union(annotation) else (annotation,)
    if any((get_origin(member) or member) in (Ok, Error) for member in members):
        return next((found for m in members if (found := _argument(m, Ok)) is not Any), Any)
    return Any if isinstance(annotation, TypeVar) else annotation


def part_types_of(processor: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the types of the parts and of the result of a generator function; Any for what is not annotated.

    Row and int for `-> Generator[Row, None, int]`; Row and Any for `-> Iterator[Row]` and `-> AsyncIterator[Row]`.
    """
    annotation = _annotation(_innermost(processor), "return")
    returns, arguments = get_origin(annotation), get_args(annotation)
    if not isinstance(returns, type) or not arguments or not issubclass(returns, (Iterable, AsyncIterable)):
        return Any, Any
    result = arguments[2] if issubclass(returns, Generator) and len(arguments) > 2 else Any
    part, result = (Any if isinstance(kind, TypeVar) else kind for kind in (arguments[0], result))
    return part, result


def _function(processor: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(processor, functools.partial):
        processor = processor.func
    if inspect.isroutine(processor) or inspect.isclass(processor):
        return processor
    return processor.__call__  # type: ignore[operator,no-any-return]  # the bound method of an object


def _innermost(processor: Callable[..., Any]) -> Any:
    """Return the function within partials and wrappers, which has the annotations."""
    return inspect.unwrap(processor if hasattr(processor, "__wrapped__") else _function(processor))


def _signature(processor: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature without the arguments that a partial binds; None if it cannot be read.

    A wrapper may have another signature than the function it wraps, and its own one counts. A wrapper that takes any
    arguments, or is written in C, has the signature of the wrapped function.
    """
    wrapped, own = _wrapped_signature(processor), _own_signature(processor)
    if own is None or wrapped is None:
        return wrapped
    return wrapped if _takes_any_arguments(processor) and (_binds(wrapped, 1) or _binds(wrapped, 2)) else own


def _wrapped_signature(processor: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(processor)
    except (TypeError, ValueError):
        return None


def _own_signature(processor: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(processor, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _is_wrapper(processor: Callable[..., Any]) -> bool:
    return hasattr(processor, "__wrapped__") or hasattr(_function(processor), "__wrapped__")


def _takes_any_arguments(processor: Callable[..., Any]) -> bool:
    own = _own_signature(processor)
    return own is None or any(each.kind is each.VAR_POSITIONAL for each in own.parameters.values())


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
    return _annotation(_innermost(processor), parameter.name)


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
    function = getattr(call, "__func__", call)
    if inspect.isclass(function):
        if name == "return":
            return function
        if name not in getattr(function, "__annotations__", {}):
            function = function.__init__
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


def annotation_of(processor: Callable[..., Any], name: str) -> Any:
    """Return the evaluated annotation of a parameter, or of what is returned, whose name is "return".

    It is the text if it cannot be resolved, and `inspect.Parameter.empty` without one. `Awaitable[...]` and
    `Coroutine[...]` around it are ignored.
    """
    annotation = _annotation(_innermost(processor), name)
    if _is_awaitable(annotation):
        return (get_args(annotation) or (_NOTHING,))[-1]
    return annotation


def is_payload_type(annotation: Any) -> bool:
    """Return whether an annotation names Payload, or `Payload[...]`."""
    return _mentions(annotation, Payload)


def is_no_payload_type(annotation: Any) -> bool:
    """Return whether no payload fits an annotation."""
    return _rules_out(annotation, Payload)
