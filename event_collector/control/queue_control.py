"""QueueControl: what the owner of a queue may do to it while it runs."""

import asyncio
from typing import Any

from event_collector.events.event import CollectorEvent
from event_collector.life.engine import DRAINING, Engine
from event_collector.values.errors import ConfigError
from event_collector.values.refusals import QueueShutDown
from event_collector_workers.autoscaler import Change


class QueueControl:
    """The actions on one queue: `queue.control`. All are logged, and called in the thread of the event loop.

    Raises, from all methods:
        ConfigError: the call comes from another thread while the queue runs, or an argument is out of its range.
    """

    def __init__(self, engine: Engine, log: Any) -> None:
        self._engine, self._log = engine, log

    def pause(self, collector: str | None = None) -> bool:
        """Begin no more events: of one collector, or of the queue. Return False if that is so already.

        Accepted events wait, and count as queued; senders wait when a bounded queue is full. Handlers go on, and so do
        events that a worker process holds already, which is some 30 ms of work. An event that goes to a paused
        collector and to others waits as a whole. A queue may be paused before its start. Its end ends all pauses:
        events that waited are processed, or, with a journal, end with QueueShutDown and run at the next start.

        Args:
            collector: its key; None for the queue as a whole, a pause of its own.

        Raises:
            ConfigError: there is no such collector, or a router of the application selects collectors itself.
            QueueShutDown: the shutdown has begun.
        """
        self._check_thread()
        if self._engine.state == DRAINING:
            raise QueueShutDown("the shutdown of the queue has begun, which ends pauses: nothing can be paused")
        return self._engine.pauses.pause(collector)

    def resume(self, collector: str | None = None) -> bool:
        """End a pause: of one collector, or of the queue. Return False if there was none.

        Raises:
            ConfigError: there is no such collector.
        """
        self._check_thread()
        return self._engine.pauses.resume(collector)

    @property
    def is_paused(self) -> bool:
        """Whether the queue as a whole is paused."""
        return self._engine.pauses.is_whole

    @property
    def paused_collectors(self) -> tuple[str, ...]:
        """Keys of the collectors that are paused by themselves."""
        return self._engine.pauses.collectors

    def resize(self, *, max_workers: int | None = None, max_consumers: int | None = None) -> list[Change]:
        """Set the upper bounds of both pools, None for the present one. Return what has changed.

        The autoscaler keeps the new bounds at once; with `autoscale=False` they are the sizes. Events and workers
        beyond them finish first. A law of the application is not told: its plans are cut.

        Raises:
            ConfigError: a bound is not accepted, as at the construction of the queue.
        """
        self._check_thread()
        changes = self._engine.regulation.bound(max_workers=max_workers, max_consumers=max_consumers)
        for change in changes:
            self._log.warning("bound changed", bound=change.subject, before=change.before, after=change.after)
        return changes

    def replace_worker(self, worker: int) -> int:
        """Replace a worker process, and return its process id. It loses no event.

        It takes events until its successor is ready, and finishes the one that it is in. To end a handler that hangs,
        cancel its event.

        Args:
            worker: its process id, or its number.

        Raises:
            LookupError: no worker that is ready has this process id or number.
        """
        self._check_thread()
        pid = self._engine.replace_worker(worker)
        self._log.warning("worker is replaced", pid=pid)
        return pid

    def cancel(self, event_id: int) -> bool:
        """Cancel an event by its id, as `event.cancel()` does; return False if it has just ended.

        This searches all events. Values of streams that workers get many at a time have no id.

        Raises:
            LookupError: no event that waits or runs has this id.
        """
        self._check_thread()
        is_cancelled = find_event(self._engine, event_id).cancel()
        self._log.warning("event cancelled", event_id=event_id)
        return is_cancelled

    def drain(self) -> bool:
        """Begin the shutdown and return at once: no more events are accepted, and accepted ones are finished.

        `shut_down_queue()`, or the end of `async with`, waits for its end. Return False if the queue does not run, or
        its shutdown has begun.
        """
        self._check_thread()
        is_begun = self._engine.drain()
        if is_begun:
            self._log.warning("shutdown asked for")
        return is_begun

    def _check_thread(self) -> None:
        if not self._engine.running:
            return
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not self._engine.loop:
            raise ConfigError(
                "a queue is controlled in the thread of its event loop; from another thread use "
                "queue.loop.call_soon_threadsafe()"
            )

    def __repr__(self) -> str:
        return f"<QueueControl {self._engine.pauses!r}>"


def find_event(engine: Engine, event_id: int) -> CollectorEvent:
    """Return an event that has no results yet by its id. Raises LookupError if there is none."""
    found = next((event for event in engine.events() if event.id == event_id and not event.is_done()), None)
    if found is None:
        raise LookupError(f"no event {event_id} waits or runs: it has ended, or was never accepted here")
    return found
