"""Dead letters: events that a collector has failed for good, kept until somebody decides what becomes of them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from event_collector.values.guarded import guarded
from event_collector.values.payload import Payload

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent


class DeadLetter(msgspec.Struct, frozen=True, eq=False):
    """One event that one collector has failed for good.

    Attributes:
        id: of the event.
        collector: the key of the collector; empty where it is the event as a whole.
        payload: what was sent.
        attempts: how many were made.
        reason: "exhausted" (all attempts failed), "rejected" (the handler raised Reject), "not retried" (an error that
            its policy does not retry), "quarantined" (it ended two worker processes, or too many programs with a
            journal), "deadline" (no further attempt could begin before the event's deadline), or "undeliverable" (the
            collector was gone when a journal had the event again).
        error: the last error as text: the class of the exception and what it says.
        trace: its traceback as text; empty where there is none.
        time: when it died, in seconds since 1970, UTC.

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
    """The dead letters of one queue, the oldest first. Iterate over it, take its `len()`, replay, drop.

    They outlive the end of the queue and are there after its next start.

    Args:
        most: how many are kept; the oldest makes room for a new one, with a log line.
        send: accepts the payload of a letter again, for its collector alone.
        on_added: is told of each new letter.
        log: for what is lost.

    """

    def __init__(
        self,
        most: int,
        send: Callable[[DeadLetter], Awaitable["CollectorEvent"]],
        on_added: Callable[[DeadLetter], None],
        log: Any,
    ) -> None:
        self._most = most
        self._send = send
        self._on_added = on_added
        self._log = log
        self._letters: dict[tuple[int, str], DeadLetter] = {}
        self._events: Counter[int] = Counter()
        self._unfinished: set[int] = set()  # events with letters that other collectors still try
        self._record: Callable[[DeadLetter], None] = _nothing
        self._strike: Callable[[DeadLetter], None] = _nothing
        self.lost = 0
        """How many letters had to make room for others."""
        self.restored = 0
        """How many events there are letters of, or were, that this queue has not accepted itself."""

    @property
    def events(self) -> int:
        """Of how many finished events there are letters: one event may have failed in several collectors."""
        return len(self._events) - sum(number in self._events for number in self._unfinished)

    def __len__(self) -> int:
        return len(self._letters)

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(list(self._letters.values()))

    def __contains__(self, letter: object) -> bool:
        return isinstance(letter, DeadLetter) and (letter.id, letter.collector) in self._letters

    async def replay(self, letter: DeadLetter) -> "CollectorEvent":
        """Send it again, as a new event for its collector alone, and return that; the letter is gone then.

        Waits as `send()` does. If it is not accepted, or this is cancelled, the letter is there again. The collector
        has all of its attempts again.

        Raises:
            LookupError: it is not here: replayed, dropped, or about to be replayed by somebody else.
            QueueShutDown: the shutdown of the queue has begun.

        """
        self._take(letter)
        try:
            event = await self._send(letter)
        except BaseException:
            self._keep(letter)
            raise
        self._tell_removed(letter)
        return event

    def drop(self, letter: DeadLetter) -> None:
        """Forget it.

        Raises:
            LookupError: it is not here.

        """
        self._take(letter)
        self._tell_removed(letter)

    def clear(self) -> int:
        """Forget all; return how many there were."""
        letters = list(self)
        for letter in letters:
            self.drop(letter)
        return len(letters)

    # What the queue and its recorder do

    def attach(self, record: Callable[[DeadLetter], None], strike: Callable[[DeadLetter], None]) -> None:
        """Have `record` called with each new letter, and `strike` with each that is gone."""
        self._record, self._strike = record, strike

    def add(self, letter: DeadLetter) -> None:
        """Keep a letter."""
        self._unfinished.add(letter.id)
        guarded("the record of a dead letter", self._record, letter)
        self._keep(letter)
        guarded("the report of a dead letter", self._on_added, letter)

    def finished(self, event_id: int) -> None:
        """The event has its results: from now on it is dead if it has letters."""
        self._unfinished.discard(event_id)

    def restore(self, letter: DeadLetter) -> None:
        """Keep a letter that is on record from before the start, telling nobody; its event counts as accepted."""
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
            guarded("the report of a lost dead letter", self._tell_lost, oldest)

    def _take(self, letter: DeadLetter) -> None:
        if self._letters.pop((letter.id, letter.collector), None) is None:
            raise LookupError(f"event {letter.id} has no dead letter of collector {letter.collector!r} here")
        self._events[letter.id] -= 1
        if not self._events[letter.id]:
            del self._events[letter.id]

    def _tell_removed(self, letter: DeadLetter) -> None:
        self._strike(letter)

    def _tell_lost(self, letter: DeadLetter) -> None:
        self._log.warning(
            "a dead letter had to make room", event_id=letter.id, collector=letter.collector, lost=self.lost
        )

    def __repr__(self) -> str:
        return f"<DeadLetters {len(self)} of {self.events} events, at most {self._most}, lost={self.lost}>"


def _nothing(_letter: DeadLetter) -> None:
    """Keep no record."""
