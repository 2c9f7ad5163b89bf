"""Types of the application that travel as what their registration says."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from event_collector.encoding.classes import class_named, name_of
from event_collector.encoding.exact import exact
from event_collector.encoding.tagged import Restorer, Tagger, ValueKind, kinds
from event_collector.values.checks import check_callable
from event_collector.values.errors import ConfigError

T = TypeVar("T")

_NAME: Final = "registered"


def register_type(cls: type[T], *, encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
    """Have objects of a class travel to other processes and back, in payloads and results, also within other values.

    Call it in the module that defines the class, at the top level: so the type is known wherever an object of it can
    be. A registration is for the class alone. An object of a subclass is refused until the subclass is registered.

    Args:
        cls: a class at the top level of a module, which msgspec does not encode by itself.
        encode: takes an object, returns data: anything that can travel. It comes back type for type.
        decode: takes this data, returns an equal object.

    Raises:
        ConfigError: `cls` is no such class or is registered already, or a function cannot be called.
    """
    owner = "register_type()"
    if not isinstance(cls, type):
        raise ConfigError(f"{owner} takes a class, not {cls!r}")
    for name, function in (("encode", encode), ("decode", decode)):
        if function is None:
            raise ConfigError(f"{owner} for {cls.__qualname__} needs {name}=, a function")
        check_callable(f"{owner} for {cls.__qualname__}: {name} takes", function)
    _check_class(cls)

    def content(value: Any, tagger: Tagger) -> Any:
        return tagger.name(cls), exact(encode(value))

    kinds.add(ValueKind(_NAME, content, _decode), cls)
    _decoders[cls] = decode


_decoders: Final[dict[type, Callable[[Any], Any]]] = {}


def _check_class(cls: type) -> None:
    try:
        name_of(cls)
    except TypeError as exc:
        raise ConfigError(f"register_type(): {exc}") from exc
    if kinds.of(cls) is not None:
        raise ConfigError(f"register_type(): {cls.__qualname__} is registered, or travels without it")
    is_native = not isinstance(msgspec.inspect.type_info(cls), msgspec.inspect.CustomType)
    if is_native or issubclass(cls, (dict, list, tuple, set, frozenset)):
        raise ConfigError(
            f"register_type(): msgspec encodes {cls.__qualname__} by itself, as its fields or items: annotate handlers "
            f"with {cls.__qualname__} to get one"
        )


def _decode(content: Any, _: Restorer) -> Any:
    name, data = content
    cls = class_named(name)
    decode = _decoders.get(cls)
    if decode is None:
        raise ValueError(f"{name} is not registered here: call register_type() in the module that defines it")
    found = decode(data)
    if type(found) is not cls:
        raise TypeError(f"decode= of {name} returned {type(found).__qualname__}")
    return found
