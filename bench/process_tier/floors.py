"""What the two interfaces cost with next to nothing behind them: nothing that has them can be much faster."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import struct
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import msgspec

from bench.process_tier.contestants import WORKERS, ThroughExecutor
from bench.process_tier.handler import work
from event_collector import Ok, Payload
from event_collector.data import ResultList
from event_collector.publisher import CollectorEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Pipes", "futures_alone"]

AT_ONCE = 64
"""Jobs in a message: their results come back together, while the next message is worked on."""
BUFFER = 1 << 20

_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, Any]]).decode


class Futures(Executor):
    """Ends each call with its argument, from a thread of this process: the futures, and no worker."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._answer)
        self._thread.start()

    def submit(self, _function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        """Take a call, whose function is never called."""
        future: Future[Any] = Future()
        self._calls.put((future, arguments[0]))
        return future

    def _answer(self) -> None:
        while (call := self._calls.get()) is not None:
            future, value = call
            future.set_result(value)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread."""
        self._calls.put(None)
        self._thread.join()


def futures_alone() -> ThroughExecutor:
    """The futures of `run_in_executor`, and those of an executor."""
    return ThroughExecutor(Futures(), warm=False)


class Pipes:
    """A queue's payloads, events and results, msgpack, and two processes that get what there is once in a loop's turn.

    Or as soon as it makes a message for each. Nothing is counted, timed or bounded; no worker may die, no event be
    cancelled, and every handler must succeed.
    """

    def __init__(self) -> None:
        self._events: dict[int, CollectorEvent] = {}
        self._line: list[tuple[int, Any]] = []
        self._number = 0
        self._due = False

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._workers: list[Any] = []
        self._ends: list[_End] = []
        for _ in range(WORKERS):
            ours, theirs = socket.socketpair()
            for each in (ours, theirs):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            worker = context.Process(target=_serve, args=(theirs,))
            worker.start()
            theirs.close()
            ours.setblocking(False)
            _, end = await self._loop.create_connection(lambda: _End(self._events), sock=ours)
            self._workers.append(worker)
            self._ends.append(end)

    def _send(self, payload: Payload[Any]) -> CollectorEvent:
        self._number = number = self._number + 1
        event = self._events[number] = CollectorEvent(number, payload)
        self._line.append((number, payload.value))
        if len(self._line) == WORKERS * AT_ONCE:
            self._give()
        elif not self._due:
            self._due = True
            self._loop.call_soon(self._flush)
        return event

    def _flush(self) -> None:
        self._due = False
        if self._line:
            self._give()

    def _give(self) -> None:
        line, self._line = self._line, []
        size = min(AT_ONCE, -(-len(line) // WORKERS))
        for turn, at in enumerate(range(0, len(line), size)):
            data = _encode(line[at : at + size])
            self._ends[turn % WORKERS].transport.write(_LENGTH.pack(len(data)) + data)

    async def send(self, value: Any) -> Any:
        return (await self._send(Payload(value)).wait()).first().unwrap()

    async def burst(self, values: Iterable[Any]) -> None:
        for event in [self._send(Payload(value)) for value in values]:
            (await event.wait()).first().unwrap()

    async def stop(self) -> None:
        for end in self._ends:
            end.transport.close()
        for worker in self._workers:
            await asyncio.to_thread(worker.join)


class _End(asyncio.Protocol):
    """The program's end of a worker's socket."""

    transport: asyncio.Transport

    def __init__(self, events: dict[int, CollectorEvent]) -> None:
        self._events = events
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # that of a socket

    def data_received(self, data: bytes) -> None:
        messages, self._rest = _cut(self._rest + data)
        for message in messages:
            for number, value in _decode(message):
                self._events.pop(number).set_result(ResultList((Ok(value),)))


def _serve(end: socket.socket) -> None:
    """Be a worker: run the handler for each job, and answer each message with one."""
    rest = b""
    while data := end.recv(BUFFER):
        messages, rest = _cut(rest + data)
        for message in messages:
            answer = _encode([(number, work(value)) for number, value in _decode(message)])
            end.sendall(_LENGTH.pack(len(answer)) + answer)


def _cut(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the messages that are whole, and what there is of the next."""
    messages, at = [], 0
    while len(data) - at >= _LENGTH.size:
        (size,) = _LENGTH.unpack_from(data, at)
        end = at + _LENGTH.size + size
        if end > len(data):
            break
        messages.append(data[at + _LENGTH.size : end])
        at = end
    return messages, data[at:]
