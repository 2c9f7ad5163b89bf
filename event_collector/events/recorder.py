"""What a queue tells whoever keeps a durable record of its events, such as a journal.

The way of an event, as a recorder sees it:

    accept(event) --> started(event) --> finished(event)
         |               |    ^                        the event is queued only when what accept() returned is done
         v               v    |
    withdrawn(event)   retrying(event, attempts)       dead_letter_added(letter) comes before the finished(event)

An event that the end of the queue gives up (its waiters get Error(QueueShutDown)) is not reported as finished: it is
to run again at the next start. One that is scheduled for another attempt when a drained end begins is given up like
that at once, if there is a recorder: its attempts go on after the next start.

How a recorder is connected, once before the first start, and with the other steps at each start:

    dispatcher.attach_recorder(recorder)
    reserve_ids(above)                        of `event_collector.dispatch.dispatcher`: ids go on above those on record
    dispatcher.recover(id, payload, ...)      queues an unfinished event of the record again, under its own id
    queue.dead_letters.restore(letter)        has a dead letter of the record again; it counts as accepted and dead

Without a recorder none of this costs an event anything.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from event_collector.events.dead_letters import DeadLetter
from event_collector.events.event import CollectorEvent
from event_collector.handlers.attempt import Attempt

if TYPE_CHECKING:
    from asyncio import Future


class Recorder(Protocol):
    """Hears of every event, in the thread of the event loop. No method may block, or raise but where it says so."""

    def accept(self, event: CollectorEvent) -> "Future[None] | None":
        """An event is about to be accepted: put it on record.

        `send()` waits for the future before it queues the event; its exception comes out of `send()`, and the event
        is not accepted. None: there is nothing to wait for. A sender that is cancelled cancels the future.
        `send_nowait()` cannot wait: it queues the event at once, and it is on the recorder to tell of a failure. What
        this itself raises comes out of both.
        """

    def withdrawn(self, event: CollectorEvent) -> None:
        """The event was not accepted after all: its sender was cancelled, or the queue began to end meanwhile."""

    def started(self, event: CollectorEvent) -> None:
        """A consumer or a worker has taken the event: an attempt begins, of each collector that it still goes to."""

    def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
        """An attempt has failed, and the next one begins in `delay` seconds.

        Args:
            event: it still has no results.
            attempts: by key, the collectors that have not finished it, and what they have tried. The others have.
            delay: seconds.

        """

    def finished(self, event: CollectorEvent) -> None:
        """The event has its results: `event.get_result()`."""

    def dead_letter_added(self, letter: DeadLetter) -> None:
        """A collector has failed for good; the event itself is reported as finished after this."""

    def dead_letter_removed(self, letter: DeadLetter) -> None:
        """It was dropped, had to make room, or was replayed; then the new event is accepted before this."""
