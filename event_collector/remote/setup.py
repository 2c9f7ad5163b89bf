"""The setup of a collector: handler, context and lifecycle, pickled by the program for its workers."""

import io
import os
import pickle
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from event_collector.encoding.codec_options import CLOUDPICKLE, CodecOption, coding_of
from event_collector.encoding.coding import Coding
from event_collector.handlers.lifecycle import LifecycleManager
from event_collector.remote.codec import PayloadDecoder
from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector.values.extras import import_extra

if TYPE_CHECKING:
    from event_collector.handlers.collector import Collector

REMEDY: Final = "define it at the top level of a module"


class Setup(NamedTuple):
    """The attributes of a collector that a worker needs."""

    key: str
    processor: Callable[..., Any]
    asynchronous: bool
    ctx: Context
    lifecycle: LifecycleManager | None
    payload_type: Any
    result_type: Any
    takes_batches: bool
    part_type: Any
    codec: CodecOption

    @property
    def coding(self) -> Coding:
        """How the values travel."""
        return coding_of(self.codec)


def seal(collector: "Collector", *, shares_main: bool = True) -> bytes:
    """Return the pickled setup of a collector.

    `shares_main` says whether the workers import the main module of this program, as its child processes do. Raise
    ConfigError if a worker process cannot load a part of the collector; the message names it and the reason.
    """
    key = collector.key
    instead = f"give the collector mode={'coroutine' if collector.asynchronous else 'thread'!r}"
    main = _unimportable_main() if shares_main else "this program's main module"
    dumps: Callable[[Any], bytes] | None = None
    if collector.codec == CLOUDPICKLE:
        dumps = import_extra(CLOUDPICKLE, CLOUDPICKLE).dumps
    check = partial(_check, key, main, instead, dumps)
    for part in ("handler", "lifecycle", "codec"):
        check(part, getattr(collector, part))
    coding = coding_of(collector.codec)
    payload_type = coding.type_of(collector.payload_type)
    check("payload_type", payload_type)
    for name in collector.ctx:
        check(f"context value {name!r}", collector.ctx[name], "open it in the collector's lifecycle")
    PayloadDecoder(payload_type, key, coding)  # raises here what it would raise in each worker
    setup = Setup(*(getattr(collector, field) for field in Setup._fields))
    setup = setup._replace(
        payload_type=payload_type,
        result_type=_or_any(check, "result_type", coding.type_of(collector.result_type)),
        part_type=_or_any(check, "part_type", coding.type_of(collector.part_type)),
    )
    if dumps is not None:
        return dumps(setup)
    pickler = _SetupPickler()
    pickler.dump(setup)
    return pickler.file.getvalue()


def _or_any(check: Callable[..., None], what: str, kind: Any) -> Any:
    """Return a type; Any if it is a class that the worker need not have: this program checks the results."""
    try:
        check(what, kind)
    except ConfigError:
        return Any
    return kind


def _check(
    key: str,
    main: str | None,
    instead: str,
    dumps: Callable[[Any], bytes] | None,
    what: str,
    value: Any,
    remedy: str = REMEDY,
) -> None:
    """Raise ConfigError if a worker process cannot load `value`; `main` describes a main module it cannot import.

    `dumps` pickles functions and classes by value, those of the main module too; None: by their names.
    """
    if value is None:
        return
    pickler = _SetupPickler()
    try:
        if dumps is not None:
            dumps(value)
            return
        pickler.dump(value)
    except Exception as exc:
        if not pickler.is_main_another:
            raise ConfigError(
                f"collector {key!r} runs in worker processes, but its {what} cannot be loaded there: "
                f"{_reason(value, exc)}: {remedy}, {_by_value(value)}or {instead}"
            ) from exc
        main = _program_of_a_runner()
    if pickler.needs_main and main is not None:
        raise ConfigError(
            f"collector {key!r} runs in worker processes, but its {what} is defined in {main}, which they cannot "
            f"import: put it into a module, or {instead}"
        )


class _SetupPickler(pickle.Pickler):
    """A pickler that supports constraints of msgspec, and detects objects that are defined in the main module."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file)
        self.needs_main = False
        self.is_main_another = False
        """Whether something that was defined in the program's main module is not in what stands for it."""

    def reducer_override(self, obj: Any) -> Any:
        """Pickle constraints of msgspec, and functions that a decorator has replaced by their Collector."""
        if isinstance(obj, msgspec.Meta):
            return _meta, ({name: getattr(obj, name) for name in _META if getattr(obj, name) is not None},)
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            self.needs_main = True
            outermost = obj.__qualname__.partition(".")[0]
            if outermost.isidentifier() and not hasattr(sys.modules["__main__"], outermost):
                self.is_main_another = True
        if is_decorated(obj):
            return _handler_at, (obj.__module__, obj.__qualname__)
        return NotImplemented


_META = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")


def _meta(constraints: dict[str, Any]) -> msgspec.Meta:
    return msgspec.Meta(**constraints)


def is_decorated(function: Any) -> bool:
    """Return whether the name of a function refers to its Collector, which the decorator has put there."""
    if not isinstance(function, FunctionType):
        return False
    try:
        found = attrgetter(function.__qualname__)(sys.modules[function.__module__])
    except (AttributeError, KeyError):
        return False
    return getattr(found, "handler", None) is function


def _handler_at(module: str, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = attrgetter(f"{name}.handler")(import_module(module))
    return found


def _unimportable_main() -> str | None:
    """Return a description of the main module if other processes cannot import it, else None."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is None:
        file = getattr(main, "__file__", None)
        if file is None:
            return "the text of `python -c`" if sys.argv[:1] == ["-c"] else "an interactive session"
        if file == "<stdin>":
            return "a program that is read from standard input"
        return None if os.path.isfile(file) else f"a program without a file ({file})"
    # multiprocessing does not import a __main__.py
    if spec.name.rpartition(".")[2] != "__main__":
        return None
    return "a __main__.py" if spec.loader is not None else _program_of_a_runner()


def _program_of_a_runner() -> str:
    """Describe a program that another one runs, such as cProfile: the main module is that one, or not complete."""
    main, words = sys.modules["__main__"], sys.orig_argv
    runner = (
        f"`python -m {words[words.index('-m') + 1]}`" if "-m" in words else getattr(main, "__file__", "another one")
    )
    return f"a program that {runner} runs"


def _by_value(value: Any) -> str:
    return "give it codec='cloudpickle', " if isinstance(value, FunctionType) else ""


def _reason(value: Any, exc: Exception) -> str:
    name = getattr(value, "__qualname__", "")
    if "<lambda>" in name:
        return "it is a lambda, which has no name to import it by"
    if "<locals>" in name:
        return f"{name} is defined inside a function, where it cannot be imported from"
    return f"{type(value).__name__} cannot be pickled ({exc})"
