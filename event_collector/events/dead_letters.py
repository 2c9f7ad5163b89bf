"""Dead letters: events that a collector has failed for good, kept until they are replayed or dropped."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from event_collector.values.errors import ConfigError
from event_collector.values.guarded import guarded
from event_collector.values.payload import Payload

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent


class DeadLetter(msgspec.Struct, frozen=True, eq=False):
    """One event that one collector has failed for good.

    Attributes:
        id: id of the event.
        collector: key of the collector; empty if the event failed as a whole.
        payload: the payload that was sent.
        attempts: number of attempts that were made.
        reason: "exhausted" (all attempts failed), "rejected" (the handler raised Reject), "not retried" (the retry
            policy does not retry the error), "quarantined" (the event ended two worker processes, or too many programs
            with a journal), "deadline" (the next attempt could not begin before the deadline), or "undeliverable" (the
            collector of an event in the journal no longer exists).
        error: the last error as text: class and message of the exception.
        trace: its traceback as text; empty if there is none.
        time: time of the failure, in seconds since 1970, UTC.
    """

    id: int
    collector: str
    payload: Payload[Any]
    attempts: int
    reason: str
    error: str
    trace: str
    time: float


class DeadLetters:
    """The dead letters of one queue, oldest first. Supports iteration, `len()` and `in`.

    The letters stay when the queue ends, and are available after its next start. When there are `most` letters, a new
    one replaces the oldest, with a log line. `send` sends the payload of a letter to its collector alone.
    """

    def __init__(
        self,
        most: int,
        send: Callable[[DeadLetter], Awaitable["CollectorEvent"]],
        on_added: Callable[[DeadLetter], None],
        log: Any,
    ) -> None:
        self._most, self._send, self._on_added, self._log = most, send, on_added, log
        self._letters: dict[tuple[int, str], DeadLetter] = {}
        self._events: Counter[int] = Counter()
        self._unfinished: set[int] = set()  # events that other collectors have not finished
        self._record: Callable[[DeadLetter], None] = _ignore
        self._strike: Callable[[DeadLetter], None] = _ignore
        self.lost = 0
        """Number of letters that were replaced by newer ones."""
        self.restored = 0
        """Number of events with restored letters, including letters that are gone. This queue did not accept them."""

    @property
    def events(self) -> int:
        """Number of finished events with letters. One event may have failed in several collectors."""
        return len(self._events) - sum(number in self._events for number in self._unfinished)

    def __len__(self) -> int:
        return len(self._letters)

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(list(self._letters.values()))

    def newest(self, most: int) -> list[DeadLetter]:
        """Return the last letters, at most so many, newest first."""
        return list(islice(reversed(self._letters.values()), most))

    def __contains__(self, letter: object) -> bool:
        return isinstance(letter, DeadLetter) and (letter.id, letter.collector) in self._letters

    async def replay(self, letter: DeadLetter) -> "CollectorEvent":
        """Send the payload to the collector again, as a new event with a new set of attempts; return that event.

        Removes the letter. Waits as `send()` does. If the event is not accepted, or this is cancelled, the letter is
        kept.

        Raises:
            LookupError: the letter was replayed or dropped, or another call is replaying it.
            QueueShutDown: the shutdown of the queue has begun.
        """
        self._take(letter)
        try:
            event = await self._send(letter)
        except BaseException:
            self._keep(letter)
            raise
        self._strike(letter)
        return event

    def drop(self, letter: DeadLetter) -> None:
        """Remove a letter.

        Raises:
            LookupError: it was removed before.
        """
        self._take(letter)
        self._strike(letter)

    def clear(self) -> int:
        """Remove all letters; return their number."""
        letters = list(self)
        for letter in letters:
            self.drop(letter)
        return len(letters)

    # For the queue and its recorder

    def attach(self, record: Callable[[DeadLetter], None], strike: Callable[[DeadLetter], None]) -> None:
        """Call `record` with each new letter, and `strike` with each that is removed."""
        self._record, self._strike = record, strike

    def add(self, letter: DeadLetter) -> None:
        """Add a letter."""
        self._unfinished.add(letter.id)
        guarded("the record of a dead letter", self._record, letter)
        self._keep(letter)
        guarded("the report of a dead letter", self._on_added, letter)

    def finished(self, event_id: int) -> None:
        """Note that an event has its results. If it has letters, it counts as dead from now on."""
        self._unfinished.discard(event_id)

    def restore(self, letter: DeadLetter) -> None:
        """Add a letter that was recorded before the start, without calling `record` or `on_added`."""
        self.restored += letter.id not in self._events
        self._keep(letter)

    def _keep(self, letter: DeadLetter) -> None:
        self._letters[letter.id, letter.collector] = letter
        self._events[letter.id] += 1
        while len(self._letters) > self._most:
            oldest = next(iter(self._letters.values()))
            self._take(oldest)
            self.lost += 1
            guarded("the record of a lost dead letter", self._strike, oldest)
            guarded("the report of a lost dead letter", self._log_lost, oldest)

    def _take(self, letter: DeadLetter) -> None:
        given: Any = letter
        if not isinstance(given, DeadLetter):
            raise ConfigError(f"a dead letter is one of `queue.dead_letters`, not {letter!r}")
        if self._letters.pop((letter.id, letter.collector), None) is None:
            raise LookupError(f"event {letter.id} has no dead letter of collector {letter.collector!r} here")
        self._events[letter.id] -= 1
        if not self._events[letter.id]:
            del self._events[letter.id]

    def _log_lost(self, letter: DeadLetter) -> None:
        self._log.warning(
            "a dead letter had to make room", event_id=letter.id, collector=letter.collector, lost=self.lost
        )

    def __repr__(self) -> str:
        return f"<DeadLetters {len(self)} of {self.events} events, at most {self._most}, lost={self.lost}>"


def _ignore(_letter: DeadLetter) -> None:
    """There is no recorder."""
