"""Events and dead letters that earlier programs left in a journal."""

from collections.abc import Set
from typing import Any, Final, NamedTuple

from event_collector.events.dead_letters import DeadLetter
from event_collector.handlers.retry import QUARANTINED
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_codec import JournalCodec
from event_collector.journal.running_page import RunningPage
from event_collector.journal.stored_event import Changes, StoredEvent, StoredLetter, StoredProgress
from event_collector.values.clock import clock
from event_collector.values.errors import PayloadTypeError
from event_collector.values.payload import Payload
from event_collector_workers.error_texts import text_of

UNDECODABLE: Final = "undecodable"
UNDELIVERABLE: Final = "undeliverable"
PLAUSIBLE: Final = 2**40
"""Upper bound of the ids that one program uses. A page of running events with a higher id is not ours."""


class Unfinished(NamedTuple):
    """An event of an earlier program that runs again."""

    stored: StoredEvent
    payload: Payload[Any]
    progress: StoredProgress
    """Attempts of the collectors that have not finished it; empty for all collectors that its payload goes to."""


class Recovered:
    """Contents of a journal at the start of a program. Events that cannot run again become dead letters.

    `keys` are those of the collectors of the queue. With `answers` these events stay until an owner has answered them.
    Raises JournalError if the journal cannot be written.
    """

    def __init__(
        self, file: JournalFile, codec: JournalCodec, keys: Set[str], max_crashes: int, page: RunningPage,
        *, answers: bool = False,
    ) -> None:  # fmt: skip
        self._codec, self._keys, self._max_crashes, self._answers = codec, keys, max_crashes, answers
        self.unanswered: list[tuple[StoredEvent, str, str]] = []
        """Such events that an owner has to answer, each with the reason and the error."""
        self._interrupted = page.interrupted
        self._changes = Changes()
        if page.highest_id < file.last_id() + PLAUSIBLE:
            self._changes.note_highest_id(page.highest_id)
        self.is_torn = file.is_torn
        self.positions = file.positions()
        self.unfinished: list[Unfinished] = []
        self.buried: list[tuple[int, str]] = []
        """Events that cannot run again, each with the reason."""
        for event in file.events():
            self._add_event(event)
        file.apply(self._changes)
        self.last_id = file.last_id()
        self.letters: list[DeadLetter] = []
        self.unreadable = 0
        """Number of dead letters that cannot be decoded. They stay in the file."""
        for letter in file.dead_letters():
            self._add_letter(letter)

    def _add_event(self, event: StoredEvent) -> None:
        if event.id in self._interrupted:
            self._changes.note_crash(event.id)
            event = event._replace(crashes=event.crashes + 1)
        try:
            payload = self._codec.decode(event)
            progress = StoredProgress.decode(event.progress)
        except Exception as exc:  # PayloadTypeError, or damaged progress
            self._give_up(event, 0, UNDECODABLE, text_of(exc))
            return
        if event.crashes >= self._max_crashes:
            error = f"{event.crashes} programs died while a handler had this event"
            self._give_up(event, event.crashes, QUARANTINED, error)
            return
        for key in progress.attempts.keys() - self._keys:
            attempt = progress.attempts.pop(key)
            error = f"there is no collector {key!r} any more. {attempt.error}".strip()
            self._bury(event, key, attempt.made, UNDELIVERABLE, error)
        if event.progress is not None and not progress.attempts:
            self._changes.finish(event.id)
            return
        self.unfinished.append(Unfinished(event, payload, progress))

    def _give_up(self, event: StoredEvent, attempts: int, reason: str, error: str) -> None:
        self._bury(event, "", attempts, reason, error)
        if self._answers:
            self.unanswered.append((event, reason, error))
        else:
            self._changes.finish(event.id)

    def _bury(self, event: StoredEvent, collector: str, attempts: int, reason: str, error: str) -> None:
        self.buried.append((event.id, reason))
        self._changes.bury(StoredLetter(event, collector, attempts, reason, error, "", clock.wall()))

    def _add_letter(self, letter: StoredLetter) -> None:
        try:
            payload = self._codec.decode(letter.event)
        except PayloadTypeError:
            self.unreadable += 1
            return
        self.letters.append(DeadLetter(letter.event.id, letter.collector, payload, *letter[2:]))
