"""The parent's end of the socket to one worker: non-blocking, reads whole messages, writes as much as fits."""

import asyncio
import mmap
import socket
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from time import monotonic
from typing import Any, Final

from event_collector_workers.job import Blob, Buffer
from event_collector_workers.transport.filling import Filling
from event_collector_workers.transport.frames import HEADER, parts_of
from event_collector_workers.transport.reader import TURN, ProtocolError, Reader

_SCRATCH: Final = 128 * 1024  # bytes; a value of 100 KB arrives in one piece
_COPIED: Final = 4  # bytes of shared memory that are copied in the time of one through a socket
_SOCKET_BUFFER: Final = 1024 * 1024  # requested bytes; the kernel grants at most net.core.wmem_max


class Channel:
    """One connected socket in an event loop.

    `on_message` is called with kind, head and blob of each message, `on_announced` and `open_segment` before a blob is
    received (see Reader), `on_lost` when nothing more can be received. After a ProtocolError the channel still sends,
    and discards its input, so that the other side does not block.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_message: Callable[[int, bytes, Buffer | None], None],
        on_announced: Callable[[int, bytes], None],
        open_segment: Callable[[int, int, int], memoryview],
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._on_lost = on_lost
        self._outgoing: deque[memoryview | Filling] = deque()
        # Separate pages return to the system with the worker. On the heap, thousands of workers would leave holes.
        self._scratch = memoryview(mmap.mmap(-1, _SCRATCH))
        self._reader = Reader(on_message, on_announced, open_segment, self._pause)
        self._received = 0
        self._is_garbled = False
        self._is_lost = False
        self._is_deaf = False  # nothing is received: the channel is lost, or a value is being copied
        self._is_mute = False  # nothing can be sent; what the other side has sent before is still received
        self.progress = 0.0
        """Monotonic seconds of the last partial write of queued output."""
        loop.add_reader(self._fd, self.receive)

    def __repr__(self) -> str:
        state = "lost" if self._is_lost else "garbled" if self._is_garbled else "open"
        unsent = sum(map(len, self._outgoing))
        return f"<Channel {state} fd={self._fd} received={self._received} unsent={unsent}>"

    def send(self, head: bytes, blob: Blob | None = None) -> None:
        """Send as much as the socket accepts now, and the rest later."""
        if self._is_lost or self._is_mute:
            return
        is_first = not self._outgoing
        if blob is None and is_first:  # in most cases the socket accepts all of it
            try:
                head = head[self._socket.send(head) :]
            except BlockingIOError:
                pass
            except OSError:
                self._is_mute = True
                return
            if not head:
                return
        self._outgoing.append(memoryview(head))
        if blob is not None:
            self._outgoing.extend(parts_of(blob))
        if is_first:
            self._begin()

    def send_filled(self, filling: Filling) -> None:
        """Copy a value into its segment, then send the message. The next messages wait for it."""
        if self._is_lost or self._is_mute:
            return
        self._outgoing.append(filling)
        if len(self._outgoing) == 1:
            self._begin()

    def _begin(self) -> None:
        self._write()
        if self._outgoing:
            self._loop.add_writer(self._fd, self._flush)

    def send_with_descriptors(self, head: bytes, fds: Sequence[int]) -> None:
        """Send the first message, which carries descriptors. Raises OSError if the socket does not accept it."""
        size = socket.send_fds(self._socket, [head[: HEADER.size]], fds)
        self.send(head[size:])

    @property
    def has_unsent(self) -> bool:
        """True if output is waiting for the socket to accept it."""
        return bool(self._outgoing)

    def receive(self) -> None:
        """Read the available bytes, up to one turn's limit, and dispatch the messages in them."""
        budget = TURN
        while budget > 0 and not self._is_deaf:
            direct = self._reader.target
            # One call reads for as long as the worker keeps writing; only the size limits its duration.
            target = self._scratch if direct is None else direct[:budget]
            size = len(target)
            try:
                count = self._socket.recv_into(target)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)
                return
            if not count:
                self._lose(None)
                return
            budget -= count
            self._received += count
            if direct is not None:
                # A view that exists when the value is complete would make BytesIO copy it.
                target.release()
                del direct
                self._advance(self._reader.filled, count)
            else:
                self._advance(self._reader.feed, target[:count])
            if count < size:
                return

    def receive_all(self) -> None:
        """Read everything that is available, after the process has ended."""
        while not self._is_lost:
            before = self._received
            self.receive()
            if self._is_deaf and not self._is_lost:
                self._go_on_copying()
            elif self._received == before:
                return

    def _pause(self) -> None:
        """Receive nothing while a value is being copied."""
        self._is_deaf = True
        self._loop.remove_reader(self._fd)
        self._loop.call_soon(self._go_on_copying)

    def _go_on_copying(self) -> None:
        if self._is_lost or not self._is_deaf:
            return
        if self._advance(self._reader.go_on, None):
            self._loop.call_soon(self._go_on_copying)
            return
        self._is_deaf = False
        self._loop.add_reader(self._fd, self.receive)
        self.receive()

    def close(self) -> None:
        """Close the socket. No callback is called afterwards. Idempotent."""
        self._detach()
        self._outgoing.clear()
        self._reader.close()
        self._socket.close()

    def _advance(self, step: Callable[[Any], Any], argument: int | memoryview | None) -> Any:
        if self._is_garbled:
            return None
        try:
            return step(argument)
        except ProtocolError as error:
            self._is_garbled = True
            self._reader.close()
            self._on_lost(error)
            return None

    def _flush(self) -> None:
        self._write()
        if not self._outgoing and not self._is_lost:
            self._loop.remove_writer(self._fd)

    def _write(self) -> None:
        """Send what the socket accepts, up to one turn's limit, two parts in each call."""
        outgoing, budget = self._outgoing, TURN
        while outgoing and budget > 0:
            # At most the budget in one call, for the same reason as in receive.
            parts = [part[:budget] for part in islice(outgoing, 2) if not isinstance(part, Filling)]
            if isinstance(outgoing[0], Filling):
                budget -= self._fill(outgoing[0], budget * _COPIED) // _COPIED
                continue
            try:
                sent = self._socket.sendmsg(parts)
            except BlockingIOError:
                return
            except OSError:
                self._is_mute = True
                outgoing.clear()
                return
            budget -= sent
            self.progress = monotonic()
            while outgoing and sent >= len(outgoing[0]):
                sent -= len(outgoing.popleft())
            if sent:
                outgoing[0] = outgoing[0][sent:]

    def _fill(self, filling: Filling, budget: int) -> int:
        """Copy some of a value into its segment. Once it is there, its message takes its place."""
        try:
            count = filling.go_on(budget)
        except OSError:
            self._outgoing.popleft()
            self._outgoing.extendleft(reversed(filling.give_up()))
            return 0
        self.progress = monotonic()
        if filling.is_over:
            self._outgoing[0] = memoryview(filling.message)
        return count

    def _lose(self, error: Exception | None) -> None:
        self._detach()
        self._outgoing.clear()
        self._on_lost(error)

    def _detach(self) -> None:
        if not self._is_lost:
            self._is_lost = self._is_deaf = True
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
