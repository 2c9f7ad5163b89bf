"""Journal: a file of accepted events, which survive the program in it. InputRecord: the input that they come from."""

import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from event_collector.events.event import CollectorEvent
from event_collector.journal.stored_event import InputPosition
from event_collector.values.checks import check_callable
from event_collector.values.errors import ConfigError, JournalError
from event_collector.values.payload import Payload

SYNCHRONOUS = ("full", "normal")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
MAX_CRASHES = 5


class InputRecord(Protocol):
    """Keeps account of an input whose lines become events. Called in the thread of the event loop."""

    def recall(self, positions: list[InputPosition]) -> None:
        """Learn how far earlier runs have taken their inputs, the latest first. Comes before the first event."""

    def claims(self, event_id: int, payload: Payload[Any]) -> bool:
        """Return whether a stored payload is for this record, which strikes it when it is done, not for handlers."""

    def fail(self, event_id: int, number: int | None, reason: str, error: str) -> None:
        """Answer a stored event that cannot run again, and then strike it; `number` is that of its line."""

    def take(self, number: int) -> InputPosition | None:
        """Note that the next write has this line. Return the position up to which no line is missing, if it is new."""

    def freeze(self) -> None:
        """Return no more positions: the journal cannot be written, so that lines may be missing."""


class OpenRecorder(Protocol):
    """The part of a recorder that a Journal offers to its owner while a queue runs."""

    def strike(self, event_id: int) -> None:
        """Delete an event."""

    def add(self, payload: Payload[Any]) -> int:
        """Store a payload that no handler gets; return its id."""

    def move_to(self, position: InputPosition | None) -> None:
        """Store how far the input was taken; nothing for None."""


class Journal:
    """The journal of one queue: `CollectorQueue(..., journal=Journal(path))`.

    An event is written to the file before `send()` returns, and deleted when it is finished. The next queue with this
    journal runs the events that a program left unfinished, however it ended, under the same `event.id`.

    Args:
        path: of the file, an SQLite database. A missing file is created, for this user only (0600). Beside it are
            PATH-lock and, while the journal is in use, PATH-wal, PATH-shm and PATH-running.
        synchronous: "full": accepted events are on the disk and survive a loss of power. "normal": the operating
            system has them, so they survive the death of the program only; faster.
        types: classes of payload values, besides plain data and the types that the collectors name.
        max_payload_bytes: upper bound of the length of an encoded payload in bytes, at least 1.
        max_crashes: number of programs that may die while the same event is in a handler, at least 1. After that the
            event becomes a dead letter. Events with one crash less run one after the other, so that one that kills
            programs takes no others along; that needs at least 2.
        on_replay: called with every event that runs again, when it is queued.
        acknowledge: the program calls `acknowledge(event)` when an event is done, for example after saving its
            results. If False, an event is done when it has its results.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: str = "full",
        types: Iterable[Any] = (),
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        max_crashes: int = MAX_CRASHES,
        on_replay: Callable[[CollectorEvent], None] | None = None,
        acknowledge: bool = False,
    ) -> None:
        self.path = _path_of(path)
        if synchronous not in SYNCHRONOUS:
            raise ConfigError(f"journal: synchronous is one of {SYNCHRONOUS}, not {synchronous!r}")
        for name, value in (("max_payload_bytes", max_payload_bytes), ("max_crashes", max_crashes)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"journal: {name} is a whole number of at least 1, not {value!r}")
        given: Any = types
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise ConfigError(f"journal: types is a list of classes, not {types!r}")
        check_callable("journal: on_replay takes", on_replay)
        if not isinstance(acknowledge, bool):
            raise ConfigError(f"journal: acknowledge is True or False, not {acknowledge!r}")
        self.synchronous, self.types = synchronous, tuple(types)
        self.max_payload_bytes, self.max_crashes = max_payload_bytes, max_crashes
        self.on_replay, self.needs_acknowledgement = on_replay, acknowledge
        self.input: InputRecord | None = None
        self._recorder: OpenRecorder | None = None

    def attach(self, recorder: OpenRecorder | None) -> None:
        """Work with this recorder; None while no queue runs with this journal."""
        self._recorder = recorder

    def follow(self, record: InputRecord) -> None:
        """Have a record keep account of the input. Before the start of the queue."""
        self.input = record

    @property
    def opened(self) -> OpenRecorder:
        """The recorder. Raises JournalError if no queue runs with this journal."""
        if self._recorder is None:
            raise JournalError(f"the journal {self.path} is closed: acknowledge events while the queue runs")
        return self._recorder

    def acknowledge(self, event: CollectorEvent) -> None:
        """Delete a finished event, whose results are safe: no later program runs it again.

        Raises:
            ConfigError: the journal was created without `acknowledge=True`.
            JournalError: no queue runs with this journal.
        """
        if not self.needs_acknowledgement:
            raise ConfigError("acknowledge() is for a Journal(acknowledge=True)")
        self.opened.strike(event.id)

    def __repr__(self) -> str:
        return f"<Journal {self.path!r} synchronous={self.synchronous}>"


def _path_of(path: Any) -> str:
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"journal takes the path of a file, or a Journal, not {path!r}")
    return text
