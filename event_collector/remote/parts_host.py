"""A collector whose handler yields, in a worker process: its events as jobs that give parts."""

import asyncio
import pickle
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any

from event_collector.encoding.buffers import Buffer
from event_collector.handlers.parts import as_part
from event_collector.handlers.stack_frames import hide_modules
from event_collector.remote.codec import encode_raised, encode_result
from event_collector.remote.fidelity import Fidelity
from event_collector.remote.host import Host
from event_collector.remote.setup import Setup
from event_collector.remote.trace_context import with_trace
from event_collector.values.payload import Payload
from event_collector_workers.limits import explain

if TYPE_CHECKING:
    from event_collector.remote.host_loop import HostLoop
    from event_collector_workers.job import Steps


def open_parts_host(setup: bytes) -> "PartsHost":
    """Open the collector of a pickled setup in this process."""
    return PartsHost(pickle.loads(setup))  # noqa: S301 - written by seal() in the program that started this worker


class PartsHost(Host):
    """An open collector whose handler yields. Other events may be processed while the handler of one is suspended."""

    def __init__(self, setup: Setup) -> None:
        self._part_fidelity = Fidelity(setup.part_type, setup.coding)
        super().__init__(setup)

    def produce(self, body: Buffer, blob: bytes | None) -> "Steps":
        """Process one encoded payload: yield the encoded parts, return the encoded result or exception.

        SystemExit is raised. Sent True, the handler is closed at its `yield`, and the result is None.
        """
        try:
            payload = self._decode(body, blob)
            outcome = yield from self._parts(payload)
            return encode_result(outcome, self._setup, fidelity=self._fidelity)
        except SystemExit:
            raise
        except BaseException as exc:
            explain(exc)
            return encode_raised(exc), None
        finally:
            self._decode.enter(None)

    def _parts(self, payload: Payload[Any]) -> "Generator[Any, bool | None, Any]":
        """Yield the encoded parts of an event, and return the handler's return value."""
        variables = ContextVars() if self._decode.carrier is None else with_trace(self._decode.take_carrier())
        if self._setup.lifecycle is not None:
            self._check_lifecycle()
        envelope = self._decode.envelope
        generator = variables.run(self._processor, payload, self._ctx)
        run: Callable[..., Any] = variables.run
        if self._asynchronous:
            generator, run = _in_loop(generator, self._event_loop(), variables), _run  # its task has the variables
        try:
            while True:
                try:
                    part = run(next, generator)
                except StopIteration as stop:
                    return stop.value
                encoded = encode_result(as_part(part), self._setup, fidelity=self._part_fidelity)
                self._decode.enter(None)
                is_closed = yield encoded
                self._decode.enter(envelope)
                if is_closed:
                    return None
        finally:
            run(generator.close)


def _run(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)


def _in_loop(
    generator: AsyncGenerator[Any, None], loop: "HostLoop", variables: ContextVars
) -> Generator[Any, None, None]:
    """Yield what an asynchronous generator yields, which runs in one task of the loop."""
    turns = _Turns(generator, loop)
    task = loop.begin(turns.run(), variables)
    try:
        while turns.next_part(task):
            yield turns.part
    finally:
        turns.end(task)


class _Turns:
    """An asynchronous generator that runs up to its next `yield` when it is asked to."""

    def __init__(self, generator: AsyncGenerator[Any, None], loop: "HostLoop") -> None:
        self._generator, self._loop = generator, loop
        self._turn: asyncio.Future[bool] | None = None  # what the generator waits for at its `yield`
        self._came: asyncio.Future[None] | None = None  # what next_part() waits for
        self.part: Any = None

    async def run(self) -> None:
        """Run the generator; it is closed if a turn says so."""
        try:
            async for part in self._generator:
                self.part = part
                self._turn = asyncio.get_running_loop().create_future()
                if self._came is not None:
                    self._came.set_result(None)
                if not await self._turn:
                    return
        finally:
            await self._generator.aclose()

    def next_part(self, task: "asyncio.Task[None]") -> bool:
        """Run the loop until there is a part; return False if the generator has ended, or raise its exception."""
        came = self._came = self._loop.future()
        self._answer(True)
        self._loop.run_until(task, came)
        if task.done():
            task.result()
        return not task.done()

    def end(self, task: "asyncio.Task[None]") -> None:
        """Close the generator if it has not ended."""
        if not task.done():
            self._answer(False)
            self._loop.run_until(task)
            task.result()

    def _answer(self, goes_on: bool) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(goes_on)


hide_modules(__name__)
