"""The recorder of a journal: writes what happens to the events of a queue, and queues recovered events."""

from collections import deque
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import astuple

from event_collector.dispatch.recording import Recording
from event_collector.events.dead_letters import DeadLetter, DeadLetters
from event_collector.events.event import CollectorEvent
from event_collector.events.event_ids import event_ids
from event_collector.handlers.attempt import Attempt
from event_collector.handlers.collector import Collector
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_codec import JournalCodec, origin_of
from event_collector.journal.journal_figures import JournalFigures
from event_collector.journal.journal_options import Journal
from event_collector.journal.recovered import Recovered, Unfinished
from event_collector.journal.running_page import RunningPage
from event_collector.journal.stored_event import Changes, InputPosition, StoredEvent, StoredLetter, StoredProgress
from event_collector.journal.writer import Writer
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError, EncodeError, JournalError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error
from event_collector.watching.snapshot import JournalSnapshot
from event_collector_workers.error_texts import text_of

if TYPE_CHECKING:
    import asyncio

LISTED: Final = 20
"""Events that a log line lists; further ones are only counted."""


class JournalRecorder:
    """The Recorder of one queue with a journal; see `event_collector.events.recorder`.

    Raises ConfigError if the payload type of a collector, or one of the journal's types, cannot be stored.
    """

    def __init__(self, journal: Journal, collectors: Mapping[str, Collector], log: Any) -> None:
        self._journal, self._log, self._figures = journal, log, JournalFigures(str(journal.path))
        self._keys = frozenset(collectors)
        for key in self._keys:
            if text_of(key) != key:
                raise ConfigError(f"the journal cannot store the key of a collector, {key!r}: it is not valid Unicode")
        types = [collector.required_type() for collector in collectors.values()]
        self._codec = JournalCodec([*types, *journal.types], journal.max_payload_bytes)
        self._writer: Writer | None = None
        self._page: RunningPage | None = None
        self._is_open = False
        self._recording: Recording
        self._parked = Changes()
        """Dead letters that were dropped while the queue did not run; written at the next start."""

    def look(self) -> JournalSnapshot:
        """Return what a snapshot of the queue tells of the journal."""
        return self._figures.look(self._writer)

    # Start and end

    async def open(self) -> Recovered:
        """Open the file and return what earlier programs left in it. Raises JournalError if that is impossible."""
        journal = self._journal
        parked, self._parked = self._parked, Changes()
        self._writer = Writer(lambda: JournalFile(journal.path, synchronous=journal.synchronous), self._log_trouble)

        def recover(file: JournalFile) -> Recovered:
            file.apply(parked)
            page = self._page = RunningPage(journal.path)
            recovered = Recovered(
                file, self._codec, self._keys, journal.max_crashes, page, answers=journal.input is not None
            )
            page.clear()
            return recovered

        await self._writer.open()
        try:
            return await self._writer.call(recover)
        except BaseException:
            await self.close()
            raise

    def enter_by(self, recording: Recording) -> None:
        """Set the way by which recovered events enter the queue. Before the first start."""
        self._recording = recording

    def restore(self, recovered: Recovered, letters: DeadLetters) -> None:
        """Queue the unfinished events, and accept events from now on. The dispatcher is open."""
        self._log_recovered(recovered)
        self._figures.begin(recovered)
        event_ids.reserve(recovered.last_id)
        self._journal.attach(self)
        self._is_open = True
        if self._journal.input is not None:
            self._journal.input.recall(recovered.positions)
            for stored, reason, error in recovered.unanswered:
                self._journal.input.fail(stored.id, origin_of(stored), reason, error)
        for letter in recovered.letters:
            if letter not in letters:
                letters.restore(letter)
        suspicious = max(1, self._journal.max_crashes - 1)
        suspects: deque[Unfinished] = deque()
        for event in recovered.unfinished:
            if self._journal.input is not None and self._journal.input.claims(event.stored.id, event.payload):
                continue
            if event.stored.crashes < suspicious:
                self._replay(event)
            else:
                suspects.append(event)
        self._replay_suspects(suspects)

    def _replay(self, unfinished: Unfinished) -> CollectorEvent:
        stored, payload, progress = unfinished
        payload._update_headers(event_id=stored.id)
        now = clock.wall()
        deadline = None if stored.expires is None else clock.now() + (stored.expires - now)
        delay = 0.0 if progress.due is None else progress.due - now
        event = self._recording.recover(stored.id, payload, progress.attempts, deadline=deadline, delay=delay)
        if self._journal.on_replay is not None:
            self._journal.on_replay(event)
        return event

    def _replay_suspects(self, suspects: deque[Unfinished]) -> None:
        """Run events one after the other: if several were in handlers when programs died, one of them did it."""
        while suspects and self._is_open and not self._recording.is_giving_up:
            event = self._replay(suspects.popleft())
            if not event.is_done():
                event.on_done(lambda event: self._after_suspect(event, suspects))
                return

    def _after_suspect(self, event: CollectorEvent, suspects: deque[Unfinished]) -> None:
        """Run the next suspect, unless the queue has given up this one."""
        results = event.get_result() or ()
        if not any(isinstance(result, Error) and isinstance(result.err, QueueShutDown) for result in results):
            self._replay_suspects(suspects)

    async def close(self) -> None:
        """Write what is left and close the file."""
        self._is_open = False
        self._journal.attach(None)
        is_written = True
        if self._writer is not None:
            if self._page is not None and self._page.highest_id:
                self._changes.note_highest_id(self._page.highest_id)
            await self._writer.close()
            if self._writer.saved:
                text = "the journal was removed while it was in use; its events are saved in a copy, a journal as well"
                self._log.error(text, path=self._journal.path, copy=self._writer.saved)
            is_written = self._writer.trouble is None
            self._writer = None
        if self._page is not None:
            self._page.close(keep=not is_written)
            self._page = None

    def _log_recovered(self, recovered: Recovered) -> None:
        path = self._journal.path
        if recovered.is_torn:
            self._log.warning("the journal ends within a transaction, which is lost", path=path)
        if recovered.buried:
            first = [f"{event_id}: {reason}" for event_id, reason in recovered.buried[:LISTED]]
            text = "events of the journal cannot run again and are dead letters now"
            self._log.error(text, path=path, count=len(recovered.buried), first=first)
        if recovered.unreadable:
            self._log.warning("dead letters of the journal cannot be decoded", path=path, count=recovered.unreadable)
        if recovered.unfinished:
            self._log.info("events of the journal run again", path=path, count=len(recovered.unfinished))

    def _log_trouble(self, trouble: JournalError | None, missed: int) -> None:
        path = self._journal.path
        if self._journal.input is not None:
            self._journal.input.freeze()
        if trouble is None:
            self._log.warning("the journal can be written again", path=path, events_missed=missed)
        else:
            self._figures.note_error(str(trouble))
            self._log.error("the journal cannot be written", path=path, reason=str(trouble))

    # Recorder

    def accept(self, event: CollectorEvent) -> "asyncio.Future[None]":
        """Write the event; the future is done when it is in the file.

        Raises EncodeError if the payload cannot be stored, and JournalError if the journal is not open.
        """
        if self._writer is None or not self._is_open:
            raise JournalError(
                f"the journal {self._journal.path} is not open: a queue with a journal takes events while it runs only"
            )
        schema, body = self._codec.encode(event.payload)
        event.replace_payload(copy(event.payload))  # the sender may send the same payload again, as another event
        event.payload._update_headers(event_id=event.id)
        if self._page is not None:
            self._page.record_id(event.id)
        now, course, expires, progress = clock.wall(), event.course, None, None
        if course is not None:
            expires = None if course.deadline is None else now + (course.deadline - clock.now())
            if course.only:
                progress = StoredProgress({key: Attempt() for key in course.only}).encode()
        written = self._writer.append(StoredEvent(event.id, schema, body, now, expires, progress).sealed())
        self._take_line(event.payload)
        return written

    def withdrawn(self, event: CollectorEvent) -> None:
        """Delete an event that was not accepted, unless it is a line of an input, which is read once."""
        if self._journal.input is None:
            self._changes.finish(event.id)

    def started(self, event: CollectorEvent) -> None:
        """Note that a handler has the event."""
        if self._page is not None:
            self._page.begin(event.id)

    def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
        """Store the attempts so far, and when the next one is due."""
        self._end(event)
        self._changes.note_attempts(event.id, StoredProgress(dict(attempts), clock.wall() + delay).encode())

    def finished(self, event: CollectorEvent) -> None:
        """Delete a finished event, unless the program acknowledges it later."""
        self._end(event)
        if not self._journal.needs_acknowledgement:
            self._changes.finish(event.id)

    def dead_letter_added(self, letter: DeadLetter) -> None:
        """Store a dead letter. If its value has changed so that it cannot be encoded, it is only logged."""
        try:
            schema, body = self._codec.encode(letter.payload)
        except EncodeError as exc:
            self._log.error("a dead letter cannot be stored in the journal", event_id=letter.id, reason=str(exc))
            return
        event = StoredEvent(letter.id, schema, body, letter.time).sealed()
        attempts, reason, error, trace, time = astuple(letter)[3:]
        self._changes.bury(StoredLetter(event, letter.collector, attempts, reason, error, text_of(trace), time))

    def dead_letter_removed(self, letter: DeadLetter) -> None:
        """Delete a dead letter."""
        self._changes.drop(letter.id, letter.collector)

    def _end(self, event: CollectorEvent) -> None:
        if self._page is not None:
            self._page.end(event.id)

    # OpenRecorder

    def strike(self, event_id: int) -> None:
        """Delete an event."""
        self._changes.finish(event_id)

    def add(self, payload: Payload[Any]) -> int:
        """Store a payload that no handler gets; return its id. Raises EncodeError if it cannot be stored."""
        schema, body = self._codec.encode(payload)
        event_id = event_ids.next()
        if self._page is not None:
            self._page.record_id(event_id)
        self._changes.insert(StoredEvent(event_id, schema, body, clock.wall()).sealed())
        self._take_line(payload)
        return event_id

    def move_to(self, position: InputPosition | None) -> None:
        """Store how far the input was taken; nothing for None."""
        if position is not None:
            self._changes.move_to(position)

    def _take_line(self, payload: Payload[Any]) -> None:
        number = payload._headers.origin
        if number is not None and self._journal.input is not None:
            self.move_to(self._journal.input.take(number))

    @property
    def _changes(self) -> Changes:
        return self._parked if self._writer is None else self._writer.next_changes()
