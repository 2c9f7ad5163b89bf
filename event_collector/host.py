"""The side of a collector that lives in a worker process: its handler, its context, its lifecycle.

A worker gets a *setup*: the handler and what belongs to it, pickled by the program itself, once per worker. Events
and results are msgpack.
"""

import io
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Context as ContextVars
from functools import partial
from importlib import import_module
from operator import attrgetter
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from event_collector.codec import PLAIN, Buffer, Parts, PayloadDecoder, encode_raised, encode_result
from event_collector.data import Context, Payload
from event_collector.exceptions import ConfigError
from event_collector.handler import overdue
from event_collector.lifecycle import make_manager
from event_collector.running_event import THREAD, RunningEvent
from event_collector.trace_context import with_trace
from event_collector_workers.limits import explain

if TYPE_CHECKING:
    from event_collector.collector import Collector
    from event_collector.host_loop import HostLoop

__all__ = ["Host", "is_decorated", "open_host", "seal", "stack_of", "trace_of"]


AT_THE_TOP: Final = "define it at the top level of a module"


class _Setup(NamedTuple):
    key: str
    processor: Callable[..., Any]
    asynchronous: bool
    ctx: Context
    lifecycle: Callable[[Context], Any] | None
    payload_type: Any


def seal(collector: "Collector", *, shares_main: bool = True) -> bytes:
    """Return the setup of a collector, for its workers.

    Args:
        collector: what they are to run.
        shares_main: whether they import this program's main module, as processes do that it has started.

    Raises:
        ConfigError: something of it cannot be had in another process; the message says what and why.

    """
    key, processor = collector.key, collector.processor
    instead = f"give the collector mode={'coroutine' if collector.asynchronous else 'thread'!r}"
    main = _unimportable_main() if shares_main else "this program's main module"
    check = partial(_check, key, main, instead)
    check("handler", collector.handler)
    check("lifecycle", collector.lifecycle)
    check("payload_type", collector.payload_type)
    for name in collector.ctx:
        check(f"context value {name!r}", collector.ctx[name], "open it in the collector's lifecycle")
    PayloadDecoder(collector.payload_type, key)  # refuses here what it would refuse in every worker
    pickler = _SetupPickler()
    pickler.dump(
        _Setup(
            key, processor, collector.asynchronous, collector.ctx, collector.lifecycle, collector.payload_type
        )
    )
    return pickler.written()


def open_host(setup: bytes) -> "Host":
    """Open the collector of a setup in this process."""
    return Host(pickle.loads(setup))  # noqa: S301 - written by seal() in the program that started this worker


class Host:
    """One collector, opened in this process: its lifecycle entered, its handler ready.

    Raises:
        Exception: what its lifecycle raises when it is entered.

    """

    def __init__(self, setup: _Setup) -> None:
        self._setup = setup
        self._processor, self._ctx, self._asynchronous = setup.processor, setup.ctx, setup.asynchronous
        self._decode = PayloadDecoder(setup.payload_type, setup.key)
        self._loop: HostLoop | None = None
        self._manager: AbstractContextManager[Any] | None = None
        THREAD.hosts.add(self)
        self._is_entered = False
        try:
            self._enter()
        except BaseException:
            self.close()
            raise

    def run(self, body: Buffer, blob: bytes | None, *, inline: bool = False) -> Parts:
        """Process one encoded payload and return the encoded result. Only SystemExit comes out of it."""
        try:
            payload = self._decode(body, blob)
            return encode_result(self._call(payload), self._setup.key, inline=inline)
        except SystemExit:
            raise
        except BaseException as exc:
            explain(exc)
            return encode_raised(exc, trace_of(exc)), None
        finally:
            self._decode.envelope = None

    def running_event(self) -> RunningEvent | None:
        """Return the event that its handler works on."""
        envelope = self._decode.envelope
        if envelope is None:
            return None
        attempt = 1 if envelope.address is None else envelope.address.attempt
        return RunningEvent(envelope.number or None, self._setup.key, attempt, os.getpid())

    def close(self) -> None:
        """Leave the lifecycle, and end the event loop if there is one."""
        manager, self._manager = self._manager, None
        loop, self._loop = self._loop, None
        try:
            if manager is not None:
                manager.__exit__(None, None, None)
        finally:
            if loop is not None:
                loop.close()

    def overdue(self, timeout: float) -> str:
        """Return what there is to say of a handler that takes longer than `timeout` seconds."""
        processor = self._setup.processor
        return overdue(self._setup.key, getattr(processor, "handler", processor), timeout)

    def interrupt(self) -> None:
        """Cancel the coroutine that runs, from another thread; a plain function cannot be."""
        loop = self._loop
        if loop is not None:
            loop.interrupt()

    def _call(self, payload: Payload[Any]) -> Any:
        # Every event has context variables of its own: what one handler sets, the next must not see.
        variables = ContextVars() if self._decode.carrier is None else with_trace(self._decode.take_carrier())
        if self._setup.lifecycle is not None:
            self._check_lifecycle()
        processor, ctx = self._processor, self._ctx
        if self._asynchronous:
            return self._event_loop().run(lambda: processor(payload, ctx), variables)
        outcome = variables.run(processor, payload, ctx)
        if type(outcome) not in PLAIN and hasattr(outcome, "__await__"):
            return self._event_loop().run(lambda: outcome, variables)
        return outcome

    def _enter(self) -> None:
        self._is_entered = False
        if self._setup.lifecycle is not None:
            manager = make_manager(self._setup.lifecycle, self._setup.ctx)
            if isinstance(manager, AbstractAsyncContextManager):
                self._event_loop().enter(manager)
            else:
                manager.__enter__()
                self._manager = manager
        self._is_entered = True

    def _check_lifecycle(self) -> None:
        """Enter a lifecycle that has ended by itself again; one event pays for it, so that it is seen."""
        if not self._is_entered:
            self._enter()
        elif self._loop is not None and self._loop.lifecycle_ended:
            error = self._loop.forget_lifecycle()
            self._enter()
            raise RuntimeError(
                f"collector {self._setup.key!r}: its lifecycle ended by itself in a worker, and was entered again"
            ) from error

    def _event_loop(self) -> "HostLoop":
        """Return the loop of this collector's coroutines; asyncio is imported only where one is needed."""
        if self._loop is None:
            from event_collector.host_loop import HostLoop

            self._loop = HostLoop()
        return self._loop


_OURS = (
    __name__,
    "event_collector.host_loop",
    "event_collector.value_handler",
    "event_collector.batch_host",
    "asyncio.base_events",
    "asyncio.runners",
    "asyncio.events",
)


def trace_of(exc: BaseException) -> str:
    """Return the traceback as text, from the handler's first frame on."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in _OURS:
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(exc), exc, trace))
    except Exception:  # an exception with odd parts
        return "".join(traceback.format_tb(trace))


def stack_of(frame: FrameType | None) -> str:
    """Return where a thread is, as the text of a traceback, from the handler's first frame on."""
    frames = [each for each, _ in traceback.walk_stack(frame)]
    ours = next((n for n, each in enumerate(frames) if each.f_globals.get("__name__") in _OURS), len(frames))
    if not ours:
        return ""
    return "".join(["Traceback (most recent call last):\n", *traceback.format_stack(frame, ours)])


def _check(key: str, main: str | None, instead: str, what: str, value: Any, remedy: str = AT_THE_TOP) -> None:
    """Raise ConfigError if a worker process could not get `value`; `main` is the main module, if it cannot be had."""
    if value is None:
        return
    pickler = _SetupPickler()
    try:
        pickler.dump(value)
    except Exception as exc:
        raise ConfigError(
            f"collector {key!r} runs in worker processes, but its {what} cannot be had there: {_reason(value, exc)}: "
            f"{remedy}, or {instead}"
        ) from exc
    if pickler.needs_main and main is not None:
        raise ConfigError(
            f"collector {key!r} runs in worker processes, but its {what} is defined in {main}, which they cannot "
            f"import: put it into a module, or {instead}"
        )


class _SetupPickler(pickle.Pickler):
    """Pickles what types are made of, too, and finds out whether the main module is needed to have it all back."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        super().__init__(self._file)
        self.needs_main = False

    def reducer_override(self, obj: Any) -> Any:
        """Pickle constraints of msgspec, and what a decorator made a Collector of; look at classes and functions."""
        if isinstance(obj, msgspec.Meta):
            return _meta, ({name: getattr(obj, name) for name in _META if getattr(obj, name) is not None},)
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            self.needs_main = True
        if is_decorated(obj):
            return _handler_at, (obj.__module__, obj.__qualname__)
        return NotImplemented

    def written(self) -> bytes:
        """Return the pickle."""
        return self._file.getvalue()


_META = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")


def _meta(constraints: dict[str, Any]) -> msgspec.Meta:
    return msgspec.Meta(**constraints)


def is_decorated(function: Any) -> bool:
    """Return whether a Collector stands where the function was defined, left there by its decorator."""
    if not isinstance(function, FunctionType):
        return False
    try:
        found = attrgetter(function.__qualname__)(sys.modules[function.__module__])
    except (AttributeError, KeyError):
        return False
    return getattr(found, "handler", None) is function


def _handler_at(module: str, name: str) -> Callable[..., Any]:
    """Return the handler of the Collector of that name."""
    found: Callable[..., Any] = attrgetter(f"{name}.handler")(import_module(module))
    return found


def _unimportable_main() -> str | None:
    """Return what the main module is, in words, if no other process can import it."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is None:
        file = getattr(main, "__file__", None)
        return "an interactive session" if file is None or file.startswith("<") else None  # "<stdin>"
    # multiprocessing takes a __main__.py for a program that must not be imported
    return "a __main__.py" if spec.name.rpartition(".")[2] == "__main__" else None


def _reason(value: Any, exc: Exception) -> str:
    name = getattr(value, "__qualname__", "")
    if "<lambda>" in name:
        return "it is a lambda, which has no name to import it by"
    if "<locals>" in name:
        return f"{name} is defined inside a function, where it cannot be imported from"
    return f"{type(value).__name__} cannot be pickled ({exc})"
