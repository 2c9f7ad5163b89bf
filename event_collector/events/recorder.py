"""The interface between a queue and a durable record of its events, such as a journal.

The calls for one event:

    accept(event) --> started(event) --> finished(event)
         |               |    ^                        the event is queued once the future of accept() is done
         v               v    |
    withdrawn(event)   retrying(event, attempts)       dead_letter_added(letter) comes before finished(event)

An event that the shutdown gives up (its waiters get Error(QueueShutDown)) is not reported as finished: it runs again at
the next start. With a recorder, a drained shutdown gives up events that are scheduled for another attempt at once, and
their attempts continue after the next start.

The recorder is connected once, before the first start. The other steps belong to each start:

    recording = Recording(dispatcher, recorder)
    event_ids.reserve(above)                  new ids exceed the recorded ones
    recording.recover(id, payload, ...)       queues an unfinished recorded event again, under its own id
    dead_letters.restore(letter)              restores a recorded dead letter, which counts as accepted and dead

Without a recorder this costs an event nothing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from event_collector.events.dead_letters import DeadLetter
from event_collector.events.event import CollectorEvent
from event_collector.handlers.attempt import Attempt

if TYPE_CHECKING:
    from asyncio import Future


class Recorder(Protocol):
    """Is called for every event, in the thread of the event loop. No method may block. Only `accept` may raise."""

    def accept(self, event: CollectorEvent) -> "Future[None] | None":
        """Record an event before it is accepted.

        `send()` waits for the future before it queues the event. An exception of the future is raised by `send()`, and
        the event is not accepted. None means that there is nothing to wait for. Cancelling the sender cancels the
        future. `send_nowait()` cannot wait: it queues the event at once, and the recorder reports a failure. Both let
        an exception of this method through.
        """

    def withdrawn(self, event: CollectorEvent) -> None:
        """The event was not accepted: its sender was cancelled, or the shutdown began."""

    def started(self, event: CollectorEvent) -> None:
        """A consumer or worker has taken the event. An attempt of each collector that has not finished it begins."""

    def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
        """An attempt has failed. The next one begins in `delay` seconds.

        `attempts` has the collectors that have not finished the event, by key. The event has no results yet.
        """

    def finished(self, event: CollectorEvent) -> None:
        """The event has its results: `event.get_result()`."""

    def dead_letter_added(self, letter: DeadLetter) -> None:
        """A collector has failed for good. `finished()` of the event follows."""

    def dead_letter_removed(self, letter: DeadLetter) -> None:
        """The letter was dropped, displaced or replayed. A replay calls `accept()` of the new event before this."""
