"""Events and calls as jobs of the worker pool, and how their answers come back as results."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.handlers.collector import Collector
from event_collector.remote.codec import ReplyDecoder
from event_collector.values.errors import EventCancelled
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Result, failure
from event_collector_workers.job import Job
from event_collector_workers.limits import WorkerLimits
from event_collector_workers.pool_errors import JobCancelled, JobTimeout, PoolClosed, WorkerPoolError

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent


class ResultSink(Protocol):
    """The owner of the events, as the worker tier sees it."""

    def ended_many(self, ended: "list[tuple[CollectorEvent, Result[Any], float]]", /) -> None:
        """Take the results of events, after so many seconds in the handler each."""

    def hand_out(self) -> None:
        """Workers have room again."""


class CollectorTask:
    """A collector as a task of the pool.

    Args:
        number: of the task.
        collector: runs in the workers.
        limits: what each worker may take of the machine; None for no limits.
        events: gets the results.
        cancel: withdraws a job, or kills the worker that is in it.

    """

    def __init__(
        self,
        number: int,
        collector: Collector,
        limits: WorkerLimits | None,
        events: ResultSink,
        cancel: Callable[[Job], bool],
    ) -> None:
        self.number, self.key, self.timeout = number, collector.key, collector.timeout
        self._limits = limits
        self._events, self.cancel = events, cancel
        self.collector = collector
        self.decode = ReplyDecoder(collector.result_type, collector.key)
        self.ended: list[tuple[Any, Result[Any], float]] = []
        """Events that have a result: what it is, and the seconds in the handler."""

    def settle(self) -> None:
        """Let the dispatcher have the events that have ended."""
        ended, self.ended = self.ended, []
        self.collector.usage.ended_together([elapsed for _, _, elapsed in ended])
        self._events.ended_many(ended)

    def called(self, elapsed: float) -> None:
        """Note that a call has taken so many seconds in a worker."""
        self.collector.usage.ended(elapsed)

    def refuse(self, event: Any, error: BaseException) -> None:
        """End an event that no worker has got."""
        self.ended.append((event, self.failed(self.explain(error), event.payload), 0.0))
        self.settle()

    def explain(self, error: BaseException) -> BaseException:
        """Return an error of the pool in the words of the queue; other errors stay as they are."""
        if isinstance(error, JobTimeout):
            late = self.collector.timeout_error()
            late.__cause__ = error
            return late
        if isinstance(error, JobCancelled):
            cancelled = EventCancelled("the event was cancelled in its worker")
            cancelled.__cause__ = error
            return cancelled
        if isinstance(error, PoolClosed):
            gone = QueueShutDown("the queue was shut down before this event was finished")
            gone.__cause__ = error
            return gone
        if isinstance(error, WorkerPoolError) and error.args:
            limits = "" if self._limits is None else f"; its limits: {self._limits}"
            error.args = (f"collector {self.collector.key!r}: {error.args[0]}{limits}", *error.args[1:])
        return error

    def failed(self, error: BaseException, payload: Payload[Any]) -> Result[Any]:
        """Return the Error of an event."""
        return failure(error, self.collector.process, (payload,), {}, self.collector.key)


class EventJob(Job):
    """An event that goes to one worker and nowhere else."""

    __slots__ = ("event", "of")

    def __init__(self, task: CollectorTask, body: bytes, blob: Any, event: Any) -> None:
        self.task, self.body, self.blob, self.timeout = task.number, body, blob, task.timeout
        self._place = None
        self.event, self.of = event, task
        event.place = self  # CollectorEvent.move_to()

    def cancel_event(self, event: "CollectorEvent") -> bool:
        """Withdraw the job, or kill the worker that is in it; False if it has just ended."""
        # Noted before: a job that has not started ends within the call.
        return not event.note_cancelled() or self.of.cancel(self)

    def note_waiter(self) -> None:
        """Do nothing: the queue has started."""

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        """The handler has answered, or let an exception out."""
        task, event = self.of, self.event
        try:
            result = task.decode(body, blob)
        except (Exception, asyncio.CancelledError) as exc:
            result = task.failed(exc, event.payload)
        task.ended.append((event, result, elapsed))

    def failed(self, error: BaseException, elapsed: float) -> None:
        """The worker could not see it through."""
        task, event = self.of, self.event
        task.ended.append((event, task.failed(task.explain(error), event.payload), elapsed))
        task.settle()


class CallJob(Job):
    """A call of `Collector.process()`, waited for by a coroutine."""

    __slots__ = ("of", "outcome")

    outcome: "asyncio.Future[Any]"
    of: CollectorTask

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        """The handler has answered, or let an exception out."""
        self.of.called(elapsed)
        if self.outcome.done():
            return
        try:
            self.outcome.set_result(self.of.decode(body, blob))
        except (Exception, asyncio.CancelledError) as exc:
            self.outcome.set_exception(exc)

    def failed(self, error: BaseException, elapsed: float) -> None:
        """The worker could not see it through."""
        self.of.called(elapsed)
        if not self.outcome.done():
            self.outcome.set_exception(self.of.explain(error))
