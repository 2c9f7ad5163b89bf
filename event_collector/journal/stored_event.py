"""Events and dead letters as they are stored in a journal. Times are seconds as of time.time()."""

import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from event_collector.handlers.attempt import Attempt


class StoredEvent(NamedTuple):
    """An event in a journal."""

    id: int
    schema: str
    """Class of the payload's value, as `module.qualname`."""
    body: bytes
    """Payload as msgpack."""
    accepted: float
    expires: float | None = None
    """Deadline for the start of its handlers."""
    progress: bytes | None = None
    """Encoded StoredProgress. None for an event without attempts that goes to all of its collectors."""
    crashes: int = 0
    """Number of programs that died while a handler had the event."""
    checksum: int = 0
    """CRC-32 of id, schema, body, accepted and expires, which never change. SQLite has no checksums of pages."""

    def sealed(self) -> "StoredEvent":
        """Return the event with its checksum."""
        return self._replace(checksum=self._computed())

    @property
    def is_sound(self) -> bool:
        """Whether the checksum is right."""
        return type(self.body) is bytes and self.checksum == self._computed()

    def _computed(self) -> int:
        fixed = f"{self.id} {self.schema} {self.accepted} {self.expires}"
        return zlib.crc32(self.body, zlib.crc32(fixed.encode(errors="replace")))


class StoredLetter(NamedTuple):
    """A dead letter in a journal."""

    event: StoredEvent
    collector: str
    """Key of the collector that failed; empty for an event that did not reach one."""
    attempts: int
    reason: str
    error: str
    trace: str
    time: float
    """Time of the failure."""


class StoredProgress(NamedTuple):
    """Attempts of an event so far."""

    attempts: dict[str, Attempt]
    """Attempts of the collectors that have not finished the event, by key."""
    due: float | None = None
    """Earliest time of the next attempt."""

    def encode(self) -> bytes:
        """Return msgpack with a checksum at the end."""
        body = _encode(self)
        return body + zlib.crc32(body).to_bytes(4, "big")

    @classmethod
    def decode(cls, data: bytes | None) -> "StoredProgress":
        """Return the progress; that of None is empty.

        Raises:
            ValueError: the data is damaged.

        """
        if data is None:
            return cls({})
        if type(data) is not bytes or zlib.crc32(data[:-4]).to_bytes(4, "big") != data[-4:]:
            raise ValueError("the attempts of this event are damaged: their checksum is wrong")
        return _decode(data[:-4])


_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[bytes], StoredProgress]] = msgspec.msgpack.Decoder(StoredProgress).decode
