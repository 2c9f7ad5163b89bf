"""The recorder of a journal: what a queue tells it goes to the writer, and what an earlier queue left comes back."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Set
from copy import copy
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.events.dead_letters import DeadLetter, DeadLetters
from event_collector.events.event import CollectorEvent
from event_collector.events.event_ids import event_ids
from event_collector.handlers.attempt import Attempt
from event_collector.handlers.collector import Collector
from event_collector.handlers.retry import QUARANTINED
from event_collector.journal.changes import Changes
from event_collector.journal.file import JournalFile
from event_collector.journal.journal import Journal
from event_collector.journal.record import (
    Letter,
    Progress,
    Record,
    RecordCodec,
    decode_progress,
    encode_progress,
    make_record,
)
from event_collector.journal.running_page import RunningPage
from event_collector.journal.writer import Writer
from event_collector.remote.remote_exceptions import text_of
from event_collector.values.clock import clock
from event_collector.values.errors import EncodeError, JournalError, PayloadTypeError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error

if TYPE_CHECKING:
    import asyncio

__all__ = ["JournalRecorder", "Recovered", "Unfinished"]

UNDECODABLE: Final = "undecodable"
UNDELIVERABLE: Final = "undeliverable"
PLAUSIBLE: Final = 2**40
"""Ids that one program may have given; a page of running events that says more was written by somebody else."""
FEW: Final = 20
"""Events that are named in a log line; the others are only counted."""


class Unfinished(NamedTuple):
    """An event of an earlier program that is to run again."""

    record: Record
    payload: Payload[Any]
    progress: Progress
    """Of the collectors that it still goes to; of none: it goes to all that its payload goes to."""


class Recovered:
    """What earlier programs left in a journal.

    Args:
        file: the journal; what cannot run again becomes a dead letter of it.
        codec: decodes it.
        keys: of the collectors that there are.
        max_crashes: how many programs may die with one event.
        page: has the events that handlers had when the last program died.

    """

    def __init__(
        self, file: JournalFile, codec: RecordCodec, keys: Set[str], max_crashes: int, page: RunningPage
    ) -> None:
        self._codec, self._keys, self._max_crashes = codec, keys, max_crashes
        self._running = page.left
        self._changes = Changes()
        if page.highest < file.last_id() + PLAUSIBLE:
            self._changes.given = page.highest
        self.is_torn = file.is_torn
        self.unfinished: list[Unfinished] = []
        self.buried: list[tuple[int, str]] = []
        """Events that cannot be run again, each with the reason."""
        for record in file.events():
            self._take(record)
        file.apply(self._changes)
        self.last_id = file.last_id()
        self.letters: list[DeadLetter] = []
        self.unreadable = 0
        """Dead letters that cannot be decoded; they stay in the file."""
        for letter in file.dead_letters():
            self._take_letter(letter)

    def _take(self, record: Record) -> None:
        crashes = record.crashes + (record.id in self._running)
        if record.id in self._running:
            self._changes.crashed.add(record.id)
            record = record._replace(crashes=crashes)
        try:
            payload = self._codec.decode(record)
            progress = Progress({}) if record.progress is None else decode_progress(record.progress)
        except Exception as exc:  # PayloadTypeError, or a progress that is damaged
            self._bury(record, "", 0, UNDECODABLE, text_of(exc))
            self._changes.finish(record.id)
            return
        if crashes >= self._max_crashes:
            self._bury(
                record, "", crashes, QUARANTINED, f"{crashes} programs died while a handler had this event"
            )
            self._changes.finish(record.id)
            return
        for key in progress.attempts.keys() - self._keys:
            attempt = progress.attempts.pop(key)
            error = f"there is no collector {key!r} any more. {attempt.error}".strip()
            self._bury(record, key, attempt.made, UNDELIVERABLE, error)
        if record.progress is not None and not progress.attempts:
            self._changes.finish(record.id)
            return
        self.unfinished.append(Unfinished(record, payload, progress))

    def _bury(self, record: Record, collector: str, attempts: int, reason: str, error: str) -> None:
        self.buried.append((record.id, reason))
        self._changes.bury(Letter(record, collector, attempts, reason, error, "", clock.wall()))

    def _take_letter(self, letter: Letter) -> None:
        try:
            payload = self._codec.decode(letter.record)
        except PayloadTypeError:
            self.unreadable += 1
            return
        self.letters.append(DeadLetter(letter.record.id, letter.collector, payload, *letter[2:]))


class _Next:
    """A waiter that goes on when an event is done, unless the queue has given it up."""

    def __init__(self, event: CollectorEvent, go_on: Callable[[], None]) -> None:
        self._event, self._go_on = event, go_on

    def done(self) -> bool:
        """Return False: it wants to hear of the event's end."""
        return False

    def set_result(self, _result: None, /) -> None:
        """The event is done."""
        results = self._event.get_result() or ()
        if not any(isinstance(result, Error) and isinstance(result.err, QueueShutDown) for result in results):
            self._go_on()


class JournalRecorder:
    """Keeps the record of one queue while it runs; see `event_collector.events.recorder.Recorder`.

    Args:
        journal: its settings.
        collectors: of the queue, by key; they name the types of payloads.
        log: hears of what went wrong.

    Raises:
        ConfigError: a payload type cannot be stored.

    """

    def __init__(self, journal: Journal, collectors: Mapping[str, Collector], log: Any) -> None:
        self._journal, self._log = journal, log
        self._keys = frozenset(collectors)
        types = [*_types_of(collectors.values()), *journal.types]
        self._codec = RecordCodec(types, journal.max_payload_bytes)
        self._writer: Writer | None = None
        self._page: RunningPage | None = None
        self._is_open = False
        self._parked = Changes()
        """What the queue tells while it does not run: dead letters that are dropped. For the next start."""

    # Start and end

    async def open(self) -> Recovered:
        """Open the file and return what earlier programs left in it.

        Raises:
            JournalError: it cannot be used; the message says why.

        """
        journal = self._journal
        parked, self._parked = self._parked, Changes()
        self._writer = Writer(lambda: JournalFile(journal.path, synchronous=journal.synchronous), self._tell)

        def recover(file: JournalFile) -> Recovered:
            file.apply(parked)
            page = self._page = _open_page(journal.path)
            recovered = Recovered(file, self._codec, self._keys, journal.max_crashes, page)
            page.forget()
            return recovered

        await self._writer.open()
        try:
            return await self._writer.call(recover)
        except BaseException:
            await self.close()
            raise

    def restore(self, recovered: Recovered, dispatcher: Dispatcher, letters: DeadLetters) -> None:
        """Queue what is to run again, and take events from now on. The dispatcher is open."""
        self._report(recovered)
        event_ids.reserve(recovered.last_id)
        self._journal.recorder = self
        self._is_open = True
        for letter in recovered.letters:
            if letter not in letters:
                letters.restore(letter)
        doubtful = max(1, self._journal.max_crashes - 1)
        suspects = deque(one for one in recovered.unfinished if one.record.crashes >= doubtful)
        for unfinished in recovered.unfinished:
            if unfinished.record.crashes < doubtful:
                self._replay(unfinished, dispatcher)
        self._replay_alone(suspects, dispatcher)

    def _replay(self, unfinished: Unfinished, dispatcher: Dispatcher) -> CollectorEvent:
        record, payload, progress = unfinished
        payload._update_headers(event_id=record.id)
        now = clock.wall()
        event = dispatcher.recover(
            record.id,
            payload,
            progress.attempts,
            deadline=None if record.expires is None else clock.now() + (record.expires - now),
            delay=0.0 if progress.due is None else progress.due - now,
        )
        if self._journal.on_replay is not None:
            self._journal.on_replay(event)
        return event

    def _replay_alone(self, suspects: deque[Unfinished], dispatcher: Dispatcher) -> None:
        """Run events one after the other: of several that were in handlers whenever a program died, one did it."""
        while suspects and self._is_open and not dispatcher.supervisor.giving_up:
            event = self._replay(suspects.popleft(), dispatcher)
            if not event.is_done():
                event.add_waiter(_Next(event, lambda: self._replay_alone(suspects, dispatcher)))
                return

    async def close(self) -> None:
        """Write what is left and close the file."""
        self._is_open, self._journal.recorder = False, None
        is_written = True
        if self._writer is not None:
            if self._page is not None and self._page.highest:
                self._changes.given = self._page.highest
            await self._writer.close()
            is_written = self._writer.trouble is None
            self._writer = None
        if self._page is not None:
            self._page.close(keep=not is_written)
            self._page = None

    def _report(self, recovered: Recovered) -> None:
        path = self._journal.path
        if recovered.is_torn:
            self._log.warning("the journal ends within a transaction, which is lost", path=path)
        if recovered.buried:
            first = [f"{number}: {reason}" for number, reason in recovered.buried[:FEW]]
            self._log.error(
                "events of the journal cannot run again and are dead letters now",
                path=path, count=len(recovered.buried), first=first,
            )  # fmt: skip
        if recovered.unreadable:
            self._log.warning(
                "dead letters of the journal cannot be decoded", path=path, count=recovered.unreadable
            )
        if recovered.unfinished:
            self._log.info("events of the journal run again", path=path, count=len(recovered.unfinished))

    def _tell(self, trouble: JournalError | None, missed: int) -> None:
        if trouble is None:
            self._log.warning(
                "the journal can be written again", path=self._journal.path, events_missed=missed
            )
        else:
            self._log.error("the journal cannot be written", path=self._journal.path, reason=str(trouble))

    # What the queue tells

    def accept(self, event: CollectorEvent) -> "asyncio.Future[None]":
        """Write the event; the future is done when it is safe.

        Raises:
            EncodeError: it cannot be stored.
            JournalError: the journal is not open.

        """
        if self._writer is None or not self._is_open:
            raise JournalError(
                f"the journal {self._journal.path} is not open: a queue with a journal takes events while it runs only"
            )
        schema, body = self._codec.encode(event.payload)
        event.payload = copy(event.payload)  # the sender may send his again, as another event
        event.payload._update_headers(event_id=event.id)
        if self._page is not None:
            self._page.give(event.id)
        now, course, expires, progress = clock.wall(), event.course, None, None
        if course is not None:
            expires = None if course.deadline is None else now + (course.deadline - clock.now())
            progress = encode_progress({key: Attempt() for key in course.only}) if course.only else None
        return self._writer.append(make_record(event.id, schema, body, now, expires, progress))

    def withdrawn(self, event: CollectorEvent) -> None:
        """Forget the event."""
        self._changes.finish(event.id)

    def started(self, event: CollectorEvent) -> None:
        """Note that a handler has it."""
        if self._page is not None:
            self._page.begin(event.id)

    def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
        """Note what was tried."""
        self._end(event)
        self._changes.attempt(event.id, encode_progress(attempts, clock.wall() + delay))

    def finished(self, event: CollectorEvent) -> None:
        """Strike the event out, or leave that to the program."""
        self._end(event)
        if not self._journal.by_hand:
            self._changes.finish(event.id)

    def done_with(self, event: CollectorEvent) -> None:
        """Strike the event out."""
        self._changes.finish(event.id)

    def dead_letter_added(self, letter: DeadLetter) -> None:
        """Keep a dead letter; one whose value was changed so that it cannot be encoded any more is only logged."""
        try:
            schema, body = self._codec.encode(letter.payload)
        except EncodeError as exc:
            self._log.error(
                "a dead letter cannot be stored in the journal", event_id=letter.id, reason=str(exc)
            )
            return
        record = make_record(letter.id, schema, body, letter.time)
        self._changes.bury(
            Letter(
                record,
                letter.collector,
                letter.attempts,
                letter.reason,
                letter.error,
                letter.trace,
                letter.time,
            )
        )

    def dead_letter_removed(self, letter: DeadLetter) -> None:
        """Forget a dead letter."""
        self._changes.drop(letter.id, letter.collector)

    def _end(self, event: CollectorEvent) -> None:
        if self._page is not None:
            self._page.end(event.id)

    @property
    def _changes(self) -> Changes:
        return self._parked if self._writer is None else self._writer.note()


def _open_page(path: str) -> RunningPage:
    try:
        return RunningPage(path)
    except OSError as exc:
        raise JournalError(
            f"the journal {path} cannot be opened: {exc.strerror or exc}: {exc.filename}"
        ) from exc


def _types_of(collectors: Iterable[Collector]) -> list[Any]:
    """Return what the collectors say that payload values are."""
    return [collector.required_type() for collector in collectors]
