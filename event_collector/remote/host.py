"""The side of a collector that lives in a worker process: its handler, its context, its lifecycle.

A worker gets a *setup*: the handler and what belongs to it, pickled by the program itself, once per worker. Events
and results are msgpack.
"""

import os
import pickle
import traceback
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Context as ContextVars
from types import FrameType
from typing import TYPE_CHECKING, Any

from event_collector.handlers.lifecycle import make_manager
from event_collector.handlers.running_event import THREAD, RunningEvent
from event_collector.handlers.signature import overdue
from event_collector.remote.codec import PLAIN, Buffer, Parts, PayloadDecoder, encode_raised, encode_result
from event_collector.remote.setup import _Setup
from event_collector.remote.trace_context import with_trace
from event_collector.values.payload import Payload
from event_collector_workers.limits import explain

if TYPE_CHECKING:
    from event_collector.remote.host_loop import HostLoop

__all__ = ["Host", "open_host", "stack_of", "trace_of"]


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
            from event_collector.remote.host_loop import HostLoop

            self._loop = HostLoop()
        return self._loop


_OURS = (
    __name__,
    "event_collector.remote.host_loop",
    "event_collector.handlers.value_handler",
    "event_collector.remote.batch_host",
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
