"""Large values between the pool and one worker: through shared memory where there is any, else through the socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from event_collector_workers.segments.exchange import Exchange
from event_collector_workers.segments.segment_sizes import CHUNK_SHARED_FROM, SHARED_FROM
from event_collector_workers.transport.filling import Filling
from event_collector_workers.transport.frames import (
    Kind,
    decode_part,
    decode_record,
    encode,
    message,
    message_in_segment,
    parts_of,
    size_of,
)
from event_collector_workers.transport.reader import ProtocolError, decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from event_collector_workers.job import Blob, Buffer, Job
    from event_collector_workers.segments.shared_memory import SharedMemory
    from event_collector_workers.transport.channel import Channel
    from event_collector_workers.transport.page import ParentPage

_AHEAD: Final = 4 * 1024 * 1024
"""Bytes of values that a worker holds before it gets no more, and at least two values: one is copied while it is in the
other. More would hide no more, and take memory and cache."""


class ValueExchange:
    """Sends the large values of one worker, and lets it send its own. Raises OSError if descriptors have run out."""

    def __init__(self, memory: SharedMemory, page: ParentPage, in_hand: Mapping[int, Job | None]) -> None:
        self._in_hand = in_hand
        self._exchange = Exchange(memory, page, self)
        self.open, self.close = self._exchange.accept, self._exchange.close
        self.close_inlet = self._exchange.close_inlet
        self.inlet = self._exchange.take_inlet()
        """The descriptor of the socket for descriptors, if there is one."""
        self._channel: Channel

    def __repr__(self) -> str:
        return f"<ValueExchange {self._exchange!r}>"

    def use(self, channel: Channel) -> None:
        """Send through this channel."""
        self._channel = channel

    def send(self, kind: Kind, head: bytes, blob: Blob) -> None:
        """Send a message with a large value, or with the items of a chunk."""
        size = size_of(blob)
        by_socket = message(kind, head, size)
        least = CHUNK_SHARED_FROM if kind == Kind.CHUNK else SHARED_FROM
        place = self._exchange.lend_copy(blob) if size >= least and isinstance(blob, memoryview) else None
        if place is not None:
            self._channel.send(message_in_segment(kind, head, *place, size, is_bytes=False))
            return
        lent = self._exchange.lend(size) if size >= least else None
        if lent is None:
            self._channel.send(by_socket, blob)
            return
        segment, slot, lease = lent
        parts = parts_of(blob)

        def give_up() -> list[memoryview]:
            self._exchange.discard(segment)
            return [memoryview(by_socket), *parts_of(blob)]

        in_segment = message_in_segment(kind, head, slot, lease, size, is_bytes=type(blob) is bytes)
        self._channel.send_filled(Filling(segment, parts, in_segment, give_up))

    def note_result(self, blob: Buffer) -> None:
        """Note that the worker has sent a value: it may send the next one in a segment."""
        if len(blob) >= SHARED_FROM:
            self._exchange.grant(len(blob))

    def announced(self, kind: int, head: bytes) -> None:
        """Check that a value belongs to a job that the worker has, before it is received. Raises ProtocolError."""
        decode: Callable[[bytes], Any] = decode_part if kind == Kind.PART else decode_record
        if kind not in (Kind.RESULT, Kind.PART) or decoded(decode, head)[0] not in self._in_hand:
            raise ProtocolError("a value for no job that it has")

    # Announce

    def added(self, slot: int, size: int, lease: int, *, is_for_results: bool) -> None:
        """Tell the worker of a segment, whose descriptor was sent."""
        self._channel.send(message(Kind.SEGMENT, encode((slot, size, lease, is_for_results))))

    def removed(self, slot: int) -> None:
        """Have the worker unmap a segment."""
        self._channel.send(message(Kind.NO_SEGMENT, encode(slot)))


def has_enough(jobs: Iterable[Job | None]) -> bool:
    """Return whether a worker with these jobs is to get no more, since their values are large."""
    sizes = [size_of(job.blob) for job in jobs if job is not None and job.blob is not None]
    return len(sizes) > 1 and sum(sizes) >= _AHEAD
