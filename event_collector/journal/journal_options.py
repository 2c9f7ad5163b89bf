"""Journal: a file of accepted events, which survive the program in it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from event_collector.events.event import CollectorEvent
from event_collector.values.checks import check_callable
from event_collector.values.errors import ConfigError, JournalError

SYNCHRONOUS = ("full", "normal")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
MAX_CRASHES = 5


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
        self._strike: Callable[[CollectorEvent], None] | None = None

    def attach(self, strike: Callable[[CollectorEvent], None] | None) -> None:
        """Have `strike` delete an event from the file; None while no queue runs with this journal."""
        self._strike = strike

    def acknowledge(self, event: CollectorEvent) -> None:
        """Delete a finished event, whose results are safe: no later program runs it again.

        Raises:
            ConfigError: the journal was created without `acknowledge=True`.
            JournalError: no queue runs with this journal.
        """
        if not self.needs_acknowledgement:
            raise ConfigError("acknowledge() is for a Journal(acknowledge=True)")
        if self._strike is None:
            raise JournalError(f"the journal {self.path} is closed: acknowledge events while the queue runs")
        self._strike(event)

    def __repr__(self) -> str:
        return f"<Journal {self.path!r} synchronous={self.synchronous}>"


def _path_of(path: Any) -> str:
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"journal takes the path of a file, or a Journal, not {path!r}")
    return text
