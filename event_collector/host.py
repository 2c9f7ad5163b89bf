"""The side of a collector that lives in a worker process: its handler, its context, its lifecycle.

A worker gets a *setup*: the handler and what belongs to it, pickled by the program itself, once per worker. Events
and results are msgpack.
"""

import pickle
import sys
import traceback
from collections.abc import Callable
from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from event_collector.codec import Buffer, Parts, PayloadDecoder, encode_raised, encode_result
from event_collector.data import Context, Payload
from event_collector.exceptions import ConfigError, PayloadTypeError

if TYPE_CHECKING:
    import asyncio

    from event_collector.collector import Collector

__all__ = ["Host", "open_host", "run_encoded", "seal"]


class _Setup(NamedTuple):
    key: str
    processor: Callable[..., Any]
    asynchronous: bool
    ctx: Context
    lifecycle: Callable[[Context], Any] | None
    payload_type: Any


def seal(collector: "Collector") -> bytes:
    """Return the setup of a collector, for its workers.

    Raises:
        ConfigError: something of it cannot be had in another process; the message says what and why.

    """
    key, processor = collector.key, collector.processor
    _check("handler", processor, key)
    _check("lifecycle", collector.lifecycle, key)
    _check("payload_type", collector.payload_type, key)
    for name in collector.ctx:
        _check(f"context value {name!r}", collector.ctx[name], key, "open it in the collector's lifecycle")
    return pickle.dumps(
        _Setup(
            key, processor, collector.asynchronous, collector.ctx, collector.lifecycle, collector.payload_type
        )
    )


def open_host(setup: bytes) -> "Host":
    """Open the collector of a setup in this process."""
    return Host(pickle.loads(setup))  # noqa: S301 - written by seal() in the program that started this worker


_hosts: dict[bytes, "Host"] = {}


def run_encoded(setup: bytes, body: bytes) -> bytes:
    """Run one encoded payload in any process, as a job for a `concurrent.futures.Executor`.

    The collector is opened at its first event in this process, and stays open as long as the process lives.
    """
    host = _hosts.get(setup)
    if host is None:
        host = _hosts[setup] = open_host(setup)
    return host.run(body, None, inline=True)[0]


class Host:
    """One collector, opened in this process: its lifecycle entered, its handler ready."""

    def __init__(self, setup: _Setup) -> None:
        self._setup = setup
        self._decode = PayloadDecoder(setup.payload_type)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifecycle: Any = None
        if setup.lifecycle is not None:
            self._enter(setup.lifecycle(setup.ctx))

    def run(self, body: Buffer, blob: bytes | None, *, inline: bool = False) -> Parts:
        """Process one encoded payload and return the encoded result. Only SystemExit comes out of it."""
        key = self._setup.key
        try:
            payload = self._decode(body, blob)
        except msgspec.ValidationError as exc:
            error = PayloadTypeError(
                f"collector {key!r}: the payload does not fit {_name(self._setup.payload_type)}: {exc}"
            )
            return encode_raised(error, ""), None
        try:
            return encode_result(self._call(payload), key, inline=inline)
        except SystemExit:
            raise
        except BaseException as exc:
            return encode_raised(exc, _trace(exc)), None

    def close(self) -> None:
        """Leave the lifecycle, and end the event loop if there is one."""
        try:
            if self._lifecycle is not None:
                self._leave()
        finally:
            if self._loop is not None:
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
                self._loop.close()

    def _call(self, payload: Payload[Any]) -> Any:
        # Every event has context variables of its own: what one handler sets, the next must not see.
        variables = ContextVars()
        if not self._setup.asynchronous:
            return variables.run(self._setup.processor, payload, self._setup.ctx)
        loop = self._event_loop()
        coroutine = variables.run(self._setup.processor, payload, self._setup.ctx)
        return loop.run_until_complete(loop.create_task(_wait_for(coroutine), context=variables))

    def _enter(self, manager: Any) -> None:
        self._lifecycle = manager
        if hasattr(manager, "__aenter__"):
            self._event_loop().run_until_complete(manager.__aenter__())
        else:
            manager.__enter__()

    def _leave(self) -> None:
        if hasattr(self._lifecycle, "__aexit__"):
            self._event_loop().run_until_complete(self._lifecycle.__aexit__(None, None, None))
        else:
            self._lifecycle.__exit__(None, None, None)

    def _event_loop(self) -> "asyncio.AbstractEventLoop":
        """Return the loop of this collector's coroutines; asyncio is imported only where one is needed."""
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
        return self._loop


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


def _trace(exc: BaseException) -> str:
    """Return the traceback as text, from the handler's first frame on."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in (__name__, "asyncio.base_events"):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(exc), exc, trace))


def _name(payload_type: Any) -> str:
    return payload_type.__name__ if isinstance(payload_type, type) else str(payload_type)


def _check(what: str, value: Any, key: str, remedy: str = "define it at the top level of a module") -> None:
    """Raise ConfigError if a worker process could not get `value`."""
    if value is None:
        return
    try:
        pickled = pickle.dumps(value)
    except Exception as exc:
        raise ConfigError(
            f"collector {key!r} runs in worker processes, but its {what} cannot be had there: {_reason(value, exc)}: "
            f"{remedy}, or give the collector mode='coroutine' or mode='thread'"
        ) from exc
    main = sys.modules.get("__main__")
    interactive = getattr(main, "__file__", None) is None and getattr(main, "__spec__", None) is None
    if interactive and b"__main__" in pickled:
        raise ConfigError(
            f"collector {key!r} runs in worker processes, but its {what} is defined in an interactive session, "
            f"which they cannot import: put it into a module, or give the collector mode='coroutine' or mode='thread'"
        )


def _reason(value: Any, exc: Exception) -> str:
    name = getattr(value, "__qualname__", "")
    if "<lambda>" in name:
        return "it is a lambda, which has no name to import it by"
    if "<locals>" in name:
        return f"{name} is defined inside a function, where it cannot be imported from"
    return f"{type(value).__name__} cannot be pickled ({exc})"
