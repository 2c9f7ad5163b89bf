"""Journal: where a queue keeps its accepted events, so that they survive the program."""

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from event_collector.events.event import CollectorEvent
from event_collector.values.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from event_collector.journal.journal_recorder import JournalRecorder

__all__ = ["Journal"]

SYNCHRONOUS = ("full", "normal")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
MAX_CRASHES = 5


class Journal:
    """The journal of one queue: `CollectorQueue(..., journal=Journal(path))`.

    What is accepted is written to the file before `send()` returns, and struck out when it is finished. What a program
    leaves unfinished, however it ends, is run again by the next queue with this journal, under the same `event.id`.

    Args:
        path: of the file, an SQLite database. It is made if it is not there, for this user only (0600). Beside it there
            are PATH-lock, and PATH-wal, PATH-shm and PATH-running while it is in use.
        synchronous: "full": what `send()` accepted is on the disk, and survives a loss of power. "normal": it is in the
            hands of the operating system, and survives the death of the program only; faster.
        types: classes of payload values besides those that the collectors name, and plain data.
        max_payload_bytes: how long an encoded payload may be, at least 1.
        max_crashes: how many programs may die while the same event is in its handlers, at least 1; after that it
            becomes a dead letter instead of being run again. Before the last of them it is run again with none of its
            kind beside it, so that one that ends programs does not take others along; with 1 that cannot be told.
        on_replay: called with every event that is run again, when it is queued.
        acknowledge: whether the program says itself when an event is done with, by `acknowledge(event)`: for those who
            must save its results first. Otherwise an event is done with when it has its results.

    Raises:
        ConfigError: a value is out of its range.

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
        self.path = _checked(path)
        if synchronous not in SYNCHRONOUS:
            raise ConfigError(f"journal: synchronous is one of {SYNCHRONOUS}, not {synchronous!r}")
        for name, value in (("max_payload_bytes", max_payload_bytes), ("max_crashes", max_crashes)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"journal: {name} is a whole number of at least 1, not {value!r}")
        self.synchronous, self.types = synchronous, tuple(types)
        self.max_payload_bytes, self.max_crashes = max_payload_bytes, max_crashes
        self.on_replay, self.by_hand = on_replay, acknowledge
        self.recorder: JournalRecorder | None = None
        """Of the queue that runs with it; written by that queue's engine."""

    def acknowledge(self, event: CollectorEvent) -> None:
        """Say that the results of an event are safe: it is not run again after this program.

        Raises:
            ConfigError: the journal was made without `acknowledge=True`.
            JournalError: no queue runs with it.

        """
        if not self.by_hand:
            raise ConfigError("acknowledge() is for a Journal(acknowledge=True)")
        if self.recorder is None:
            raise JournalError(f"the journal {self.path} is closed: acknowledge events while the queue runs")
        self.recorder.done_with(event)

    def __repr__(self) -> str:
        return f"<Journal {self.path!r} synchronous={self.synchronous}>"


def _checked(path: Any) -> str:
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"journal takes the path of a file, or a Journal, not {path!r}")
    return text
