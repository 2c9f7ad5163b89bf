"""The journal of a run over lines: what it has of the input, where an earlier run has stopped, and what is written out.

A line is in the journal as an event, or as the error in its place, until its output is written. With the same write the
journal notes how far the input was taken, with a digest of the lines, so that the next run with the same input goes on
after them. When the input has ended and its output is written, its position is forgotten.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import blake2b
from typing import Any

import msgspec

from event_collector.command.lines.line_window import LineWindow, PendingLine
from event_collector.command.lines.ndjson import InputLine
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_options import Journal
from event_collector.journal.stored_event import Changes, InputPosition
from event_collector.values.errors import JournalError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector_workers.error_texts import text_of


class RefusedLine(msgspec.Struct):
    """A line that is not an event, as the journal stores it: class and message of the error in its place."""

    error: str
    message: str


class OtherInput(Exception):
    """The input does not begin with the lines that an earlier run has taken."""


class LineJournal:
    """The journal at `path`, and its `InputRecord` for the input with this inode, 0 for a stream.

    Args:
        resume: True: the input is that of the last run. False: it is not. None: it is if the file has the same inode
            and begins with the same lines.
        say: tells the user where the run continues.

    Raises:
        ConfigError: the path is none.
    """

    def __init__(
        self, path: str, window: LineWindow, inode: int, *, resume: bool | None, say: Callable[[str], None]
    ) -> None:
        self.journal = Journal(path, types=[RefusedLine], acknowledge=True, on_replay=window.replay)
        self.journal.follow(self)
        self._window, self._inode, self._resume, self._say = window, inode, resume, say
        self._digest = blake2b(digest_size=16)
        self._goal: InputPosition | None = None
        """Where an earlier run has stopped; None if there was none, or this run has come there."""
        self._read: dict[int, bytes] = {}
        """Digests of the lines up to each that was read and has not been followed by a position."""
        self._taken: set[int] = set()
        """Lines among them that are in the journal, or need not be."""
        self._is_frozen = self._has_given_up = False
        self._late = Changes()
        """Changes after the end of the queue, which closes the journal."""

    # InputRecord

    def recall(self, positions: list[InputPosition]) -> None:
        """Choose the position at which this run may continue."""
        own = [position for position in positions if position.inode == self._inode != 0]
        if self._resume is not False:
            self._goal = next(iter([*own, *(positions if self._resume else [])]), None)
        if self._goal is not None:
            self._inode = self._goal.inode

    def claims(self, event_id: int, payload: Payload[Any]) -> bool:
        """Put a line that an earlier run has refused into the window."""
        value = payload.value
        if not isinstance(value, RefusedLine):
            return False
        self.fail(event_id, payload._headers.origin, value.error, value.message)
        return True

    def fail(self, event_id: int, number: int | None, reason: str, error: str) -> None:
        """Put a line into the window that is an error, whose class has this name."""
        kind = reason[:1].upper() + reason[1:]
        self._window.replay_refused(number, type(kind, (ValueError,), {})(error), event_id)

    def take(self, number: int) -> InputPosition | None:
        """Note that the next write has this line, or that it needs none."""
        self._taken.add(number)
        position = None
        while self._read and (first := next(iter(self._read))) in self._taken:
            self._taken.remove(first)
            position = InputPosition(self._inode, first, self._read.pop(first))
        return None if self._is_frozen else position

    def freeze(self) -> None:
        """Return no more positions."""
        self._is_frozen = True

    # Intake

    def skips(self, line: InputLine) -> bool:
        """Return whether an earlier run has taken this line, the next one; raises OtherInput if it was another."""
        self._digest.update(b"%d\n" % line.size if line.data is None else line.data + b"\n")
        goal = self._goal
        if goal is None:
            self._read[line.number] = self._digest.digest()
            return False
        if line.number == goal.lines:
            self._check(self._digest.digest() == goal.digest)
            self._goal = None
            self._say(f"continuing after line {goal.lines:,}, the last one that an earlier run took")
        return True

    def end(self) -> None:
        """Note that the input has ended. Raises OtherInput if it has less lines than an earlier run took."""
        self._check(self._goal is None)

    def _check(self, is_same: bool) -> None:
        if not is_same and self._goal is not None:
            raise OtherInput(f"it does not begin with the {self._goal.lines:,} lines that the last run took")

    def begins_anew(self) -> bool:
        """Take the input for another one, from its first line; return False if the user says that it is the same."""
        if self._resume:
            return False
        self._goal = None
        self._digest = blake2b(digest_size=16)
        self._say("the input has changed since an earlier run took lines of it: beginning with line 1")
        return True

    def refuse(self, line: PendingLine, number: int, error: Exception) -> None:
        """Note that a line cannot become an event, in the journal as well."""
        line.refuse(error, self._record(number, error))

    def _record(self, number: int, error: Exception) -> int | None:
        if isinstance(error, (JournalError, QueueShutDown)):
            return None  # the next run takes it
        payload = Payload(RefusedLine(type(error).__name__, text_of(error)))
        payload._update_headers(origin=number)
        try:
            return self.journal.opened.add(payload)
        except JournalError:  # the queue has ended
            return None

    # Output

    def acknowledge(self, lines: Iterable[PendingLine]) -> None:
        """Strike written lines, except those that the queue gave up: these stay in the journal."""
        for line in lines:
            if line.was_given_up():
                self._has_given_up = True
            elif (record := line.record if line.event is None else line.event.id) is not None:
                try:
                    self.journal.opened.strike(record)
                except JournalError:
                    self._late.finish(record)

    def complete(self) -> None:
        """Forget the position, unless there is something left: the input has ended, and its output is written."""
        if self._is_frozen or self._has_given_up:
            return
        ended = InputPosition(self._inode, 0, b"")
        try:
            self.journal.opened.move_to(ended)
        except JournalError:
            self._late.move_to(ended)

    def close(self) -> None:
        """Write what is left, after the end of the queue; raises JournalError."""
        if self._late:
            journal = self.journal
            with closing(JournalFile(journal.path, create=False, synchronous=journal.synchronous)) as file:
                file.apply(self._late)
