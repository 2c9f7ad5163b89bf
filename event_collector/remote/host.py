"""A collector in a worker process: its handler, its context, its lifecycle.

The program pickles a *setup*, which contains the handler, once per worker. Payloads and results are msgpack.
"""

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from contextvars import Context as ContextVars
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from event_collector.encoding.buffers import Buffer
from event_collector.handlers.lifecycle import make_manager
from event_collector.handlers.progress_reports import register_report
from event_collector.handlers.running_event import RunningEvent, event_context, register_finder
from event_collector.handlers.signature import describe_timeout
from event_collector.handlers.stack_frames import hide_modules
from event_collector.handlers.value_handler import ValueHandler, results_of
from event_collector.remote.codec import (
    Parts,
    PayloadDecoder,
    decode_bodies,
    encode_answers,
    encode_raised,
    encode_result,
    encode_value,
)
from event_collector.remote.fidelity import PLAIN, Fidelity
from event_collector.remote.item_codec import LINES, SIMPLE, ItemsReader, UnfitValue, outcome_in
from event_collector.remote.setup import Setup
from event_collector.remote.shared_data import add_shared
from event_collector.remote.trace_context import with_trace
from event_collector.values.errors import HandlerTimeout
from event_collector.values.payload import Delivery, Payload
from event_collector_workers.child.forwarding import Adopter, Forwarding, current
from event_collector_workers.child.job_progress import report_progress
from event_collector_workers.limits import explain

if TYPE_CHECKING:
    from event_collector.remote.host_loop import HostLoop
    from event_collector.remote.line_items import LineItems
    from event_collector_workers.job import Items


def open_host(setup: bytes, shared: Sequence[memoryview] = ()) -> "Host":
    """Open the collector of a pickled setup, with its shared data, in this process."""
    with _records_forwarded():
        opened: Setup = pickle.loads(setup)  # noqa: S301 - written by seal() in the program that started this worker
        add_shared(opened.ctx, shared)
    return BatchHandlerHost(opened) if opened.takes_batches else Host(opened)


def _records_forwarded() -> AbstractContextManager[None]:
    """Add the running event to what this worker logs, and treat what is configured within the context as an import."""
    forwarding = current.forwarding
    if forwarding is None:
        return nullcontext()
    forwarding.describe_with(event_context)
    forwarding.turn_over("structlog", partial(_forward_structlog, forwarding))
    return forwarding.importing()


def _forward_structlog(forwarding: Forwarding) -> Adopter:
    from event_collector.remote.structlog_forwarding import StructlogForwarding

    return StructlogForwarding(forwarding)


class Host:
    """An open collector: its lifecycle is entered and its handler ready. It belongs to the thread that opens it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._processor, self._ctx, self._asynchronous = setup.processor, setup.ctx, setup.asynchronous
        self._coding = setup.coding
        self._decode = PayloadDecoder(setup.payload_type, setup.key, self._coding)
        self._fidelity = Fidelity(setup.result_type, self._coding)
        self._loop: HostLoop | None = None
        self._manager: AbstractContextManager[Any] | None = None
        self._read_items: ItemsReader | None = None
        self._lines: LineItems | None = None
        self._chunk: tuple[int, Items] | None = None  # the id of the first item of the chunk that runs, and its items
        _thread.hosts.add(self)
        try:
            self._enter()
        except BaseException:
            self.close()
            raise

    def run(self, body: Buffer, blob: Buffer | None, *, inline: bool = False) -> Parts:
        """Process one encoded payload and return the encoded result or exception; SystemExit is raised."""
        try:
            payload = self._decode(body, blob)
            return encode_result(self._call(payload), self._setup, inline=inline, fidelity=self._fidelity)
        except SystemExit:
            raise
        except BaseException as exc:
            explain(exc)
            return encode_raised(exc), None
        finally:
            self._decode.envelope = None

    def run_items(self, body: Buffer, items: "Items") -> None:
        """Process the values of a chunk one after the other, each as `run()` does; SystemExit is raised."""
        if body[:1] == LINES:
            self._run_lines(body, items)
            return
        if self._read_items is None:
            self._read_items = ItemsReader(self._setup.payload_type, self._coding)
        chunk = self._read_items(body)
        self._chunk = chunk.first_id, items
        bare = self._bare_handler()
        try:
            if bare is not None and not chunk.has_unfit:
                self._run_bare(bare, chunk.values, items)
            elif items.begin():
                for value in chunk.values:
                    if not self._run_item(value, chunk.priority, items):
                        break
        finally:
            self._chunk = None

    def _run_lines(self, body: Buffer, items: "Items") -> None:
        """Process lines of JSON. What that needs is imported only then."""
        from event_collector.remote.line_items import LineItems, decode_lines

        if self._lines is None:
            self._lines = LineItems(self._setup, self._call_with(), self._failed)
        first_id, number, lines = decode_lines(body)
        self._chunk = first_id, items
        try:
            self._lines.run(number, lines, items)
        finally:
            self._chunk = None

    def _call_with(self) -> Callable[[Any], Any]:
        """Return what calls the handler with a value, as an event would."""
        bare = self._bare_handler()
        if bare is None:
            return lambda value: self._call(Payload(value))

        variables = ContextVars()

        def call(value: Any) -> Any:
            nonlocal variables
            try:
                outcome = variables.run(bare, value)
                return outcome if type(outcome) in PLAIN else self._awaited(outcome, variables)
            finally:
                if len(variables):  # the next value must not see what the handler has set
                    variables = ContextVars()

        return call

    def _bare_handler(self) -> Callable[[Any], Any] | None:
        """Return a plain handler that takes the value and nothing else, and that has no lifecycle; None for others."""
        processor: Any = self._processor
        if type(processor) is not ValueHandler or self._asynchronous or self._setup.lifecycle is not None:
            return None
        return processor.handler

    def _run_bare(self, handler: Callable[[Any], Any], values: list[Any], items: "Items") -> None:
        """Process values with a plain handler that takes the value and nothing else: a call, and no more."""
        variables = ContextVars()
        run, encode = variables.run, encode_value
        outcome: Any = None
        error: BaseException | None = None

        def outcome_of(value: Any) -> bytes | None:
            """Return the encoded result; None if it takes more than that, with the result, or the error, noted."""
            nonlocal outcome, error
            try:
                result = run(handler, value)
            except SystemExit:
                raise
            except BaseException as exc:
                error = exc
                return None
            if type(result) in SIMPLE and not variables:
                try:
                    return encode(result)
                except Exception:  # noqa: S110 - a large integer has a tag
                    pass
            outcome = result
            return None

        inputs, go_on = iter(values), items.begin()
        while go_on and items.keep_each(inputs, outcome_of):
            reply = self._reply(partial(self._awaited, outcome, variables)) if error is None else self._failed(error)
            outcome = error = None
            go_on = self._answer(reply, items)
            if variables:  # the next value must not see what the handler has set
                variables = ContextVars()
                run = variables.run

    def _run_item(self, value: Any, priority: float | None, items: "Items") -> bool:
        def process() -> Any:
            fit = value
            if type(value) is UnfitValue:  # the decoder of events says what is wrong, or supports it
                fit = self._decode(b"\x91" + bytes(value.value), None)._value
            return self._call(Payload(fit, Delivery.KEY, (self._setup.key,), priority=priority))

        return self._answer(self._reply(process), items)

    def _answer(self, reply: Parts, items: "Items") -> bool:
        body, blob = reply
        outcome = outcome_in(body) if blob is None else None
        return items.answer(body, blob) if outcome is None else items.keep(outcome)

    def _reply(self, process: Callable[[], Any]) -> Parts:
        try:
            return encode_result(process(), self._setup, fidelity=self._fidelity)
        except SystemExit:
            raise
        except BaseException as exc:
            return self._failed(exc)

    def _failed(self, error: BaseException) -> Parts:
        explain(error)
        return encode_raised(error), None

    def _awaited(self, outcome: Any, variables: ContextVars) -> Any:
        if type(outcome) not in PLAIN and hasattr(outcome, "__await__"):
            return self._event_loop().run(lambda: outcome, variables)
        return outcome

    def running_event(self) -> RunningEvent | None:
        """Return the event that the handler processes; None if it is idle."""
        if self._chunk is not None:
            first_id, items = self._chunk
            return RunningEvent(first_id + items.index, self._setup.key, 1, os.getpid())
        envelope = self._decode.envelope
        if envelope is None:
            return None
        attempt = 1 if envelope.address is None else envelope.address.headers.attempt
        return RunningEvent(envelope.number or None, self._setup.key, attempt, os.getpid())

    def close(self) -> None:
        """Leave the lifecycle and close the event loop, if there is one."""
        manager, self._manager = self._manager, None
        loop, self._loop = self._loop, None
        try:
            if manager is not None:
                manager.__exit__(None, None, None)
        finally:
            if loop is not None:
                loop.close()

    def timeout_error(self, timeout: float) -> HandlerTimeout:
        """Return the error of a handler that takes longer than `timeout` seconds."""
        processor = self._setup.processor
        handler = getattr(processor, "handler", processor)
        return HandlerTimeout(describe_timeout(self._setup.key, handler, timeout))

    def interrupt(self) -> None:
        """Cancel the running coroutine, from another thread; a no-op for a plain function."""
        loop = self._loop
        if loop is not None:
            loop.interrupt()

    def _call(self, payload: Any) -> Any:
        # Each event has its own context variables: the next event must not see the changes of this one.
        variables = ContextVars() if self._decode.carrier is None else with_trace(self._decode.take_carrier())
        if self._setup.lifecycle is not None:
            self._check_lifecycle()
        processor, ctx = self._processor, self._ctx
        if self._asynchronous:
            return self._event_loop().run(lambda: processor(payload, ctx), variables)
        outcome = variables.run(processor, payload, ctx)
        if type(outcome) not in PLAIN and hasattr(outcome, "__await__"):  # _awaited()
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
        """Enter a lifecycle that has ended by itself again; the event fails, so that this does not go unnoticed."""
        if not self._is_entered:
            self._enter()
        elif self._loop is not None and self._loop.lifecycle_ended:
            error = self._loop.forget_lifecycle()
            self._enter()
            raise RuntimeError(
                f"collector {self._setup.key!r}: its lifecycle ended by itself in a worker, and was entered again"
            ) from error

    def _event_loop(self) -> "HostLoop":
        """Return the event loop of this collector. asyncio is imported only if a loop is needed."""
        if self._loop is None:
            from event_collector.remote.host_loop import HostLoop

            self._loop = HostLoop()
        return self._loop


class BatchHandlerHost(Host):
    """An open collector with a batch handler. A job is a call, with the encoded payloads of its events."""

    def __init__(self, setup: Setup) -> None:
        self._is_busy = False
        super().__init__(setup)

    def run(self, body: Buffer, blob: Buffer | None, *, inline: bool = False) -> Parts:
        """Call the handler for several events. The reply is the exception of the call, or an answer for each event.

        A payload that does not fit the type, and a result that cannot be encoded, fail their event alone.
        """
        try:
            self._is_busy = True
            return encode_answers(self._answers(decode_bodies(body))), None
        except SystemExit:
            raise
        except BaseException as exc:
            explain(exc)
            return encode_raised(exc), None
        finally:
            self._is_busy = False

    def running_event(self) -> RunningEvent | None:
        """Return what is common to the events that the handler processes; None if it is idle."""
        return RunningEvent(None, self._setup.key, None, os.getpid()) if self._is_busy else None

    def _answers(self, bodies: list[bytes]) -> list[bytes]:
        payloads = [self._payload(body) for body in bodies]
        fitting = [payload for payload in payloads if isinstance(payload, Payload)]
        outcome = self._call(fitting) if fitting else []
        results = iter(results_of(outcome, len(fitting), self._setup.key))
        return [self._encoded(next(results)) if isinstance(each, Payload) else each for each in payloads]

    def _payload(self, body: bytes) -> Payload[Any] | bytes:
        """Return a decoded payload, or the encoded exception."""
        try:
            return self._decode(body, None)
        except Exception as exc:
            return encode_raised(exc)
        finally:
            self._decode.envelope = None
            self._decode.take_carrier()  # a batch belongs to no trace

    def _encoded(self, result: Any) -> bytes:
        try:
            return bytes(encode_result(result, self._setup, inline=True, fidelity=self._fidelity)[0])
        except Exception as exc:
            return encode_raised(exc)


class _OpenHosts(threading.local):
    """The collectors that a thread has opened; at most one of them processes an event."""

    def __init__(self) -> None:
        self.hosts: WeakSet[Host] = WeakSet()


_thread = _OpenHosts()


def _find_running_event() -> RunningEvent | None:
    for host in _thread.hosts:
        event = host.running_event()
        if event is not None:
            return event
    return None


register_finder(_find_running_event)
register_report(report_progress)
hide_modules(__name__)
