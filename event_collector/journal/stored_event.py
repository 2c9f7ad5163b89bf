"""Events, dead letters and changes of them, as a journal stores them. Times are seconds as of time.time()."""

import zlib
from collections.abc import Callable, Iterator
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
        """Return the progress; that of None is empty. Raises ValueError if the data is damaged."""
        if data is None:
            return cls({})
        if type(data) is not bytes or zlib.crc32(data[:-4]).to_bytes(4, "big") != data[-4:]:
            raise ValueError("the attempts of this event are damaged: their checksum is wrong")
        return _decode(data[:-4])


_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[bytes], StoredProgress]] = msgspec.msgpack.Decoder(StoredProgress).decode


class InputPosition(NamedTuple):
    """How far a run has taken its input: all lines up to there are in the journal, or answered."""

    inode: int
    """Inode of the file; 0 for a stream."""
    lines: int
    """Number of lines. 0: the input has ended, and its position is to be forgotten."""
    digest: bytes
    """Digest of these lines."""


class Changes:
    """Changes that one transaction writes, in the order of the slots."""

    __slots__ = (  # noqa: RUF023
        "inserted", "attempted", "crashed", "buried", "finished", "dropped", "highest_id", "position",
    )  # fmt: skip

    def __init__(self) -> None:
        self.inserted: dict[int, StoredEvent] = {}
        self.attempted: dict[int, bytes] = {}
        """Encoded progress of events that wait for another attempt."""
        self.crashed: set[int] = set()
        """Events that were in handlers when a program died."""
        self.buried: dict[tuple[int, str], StoredLetter] = {}
        """New dead letters, by event and collector."""
        self.finished: set[int] = set()
        self.dropped: set[tuple[int, str]] = set()
        """Dead letters to delete, by event and collector."""
        self.highest_id = 0
        """Highest id in use; later events get higher ones. 0 for none."""
        self.position: InputPosition | None = None
        """How far the input was taken with these changes."""

    def note_highest_id(self, event_id: int) -> None:
        """Set the highest id in use."""
        self.highest_id = event_id

    def insert(self, event: StoredEvent) -> None:
        """Add a new event."""
        self.inserted[event.id] = event

    def withdraw(self, event_id: int) -> None:
        """Remove a new event if it is here."""
        self.inserted.pop(event_id, None)

    def note_attempts(self, event_id: int, progress: bytes) -> None:
        """Store the encoded progress of an event that waits for another attempt."""
        self.attempted[event_id] = progress

    def note_crash(self, event_id: int) -> None:
        """Note that an event was in a handler when a program died."""
        self.crashed.add(event_id)

    def take_inserted(self) -> "Changes":
        """Remove the new events, and return them as changes of their own."""
        events = _only("inserted", self.inserted)
        self.inserted = {}
        return events

    def move_to(self, position: InputPosition | None) -> None:
        """Note how far the input was taken with these changes; None if that is not known any more."""
        self.position = position

    def finish(self, event_id: int) -> None:
        """Delete an event. Nothing is written for an event that has not been inserted yet."""
        self.attempted.pop(event_id, None)
        if self.inserted.pop(event_id, None) is None:
            self.finished.add(event_id)

    def bury(self, letter: StoredLetter) -> None:
        """Add a dead letter."""
        self.buried[letter.event.id, letter.collector] = letter

    def drop(self, event_id: int, collector: str) -> None:
        """Delete a dead letter."""
        if self.buried.pop((event_id, collector), None) is None:
            self.dropped.add((event_id, collector))

    def precede(self, later: "Changes") -> None:
        """Add later changes to these, which could not be written before."""
        self.attempted |= later.attempted
        self.inserted |= later.inserted
        self.crashed |= later.crashed
        self.buried |= later.buried
        self.highest_id = max(self.highest_id, later.highest_id)
        self.position = later.position or self.position
        for event_id in later.finished:
            self.finish(event_id)
        for letter in later.dropped:
            self.drop(*letter)

    def parts(self) -> "Iterator[Changes]":
        """Yield each change alone, in the order of the slots."""
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, dict):
                yield from (_only(name, {key: item}) for key, item in value.items())
            elif isinstance(value, set):
                yield from (_only(name, {item}) for item in value)
            elif value:
                yield _only(name, value)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


def _only(name: str, value: Any) -> Changes:
    changes = Changes()
    setattr(changes, name, value)
    return changes
