"""Events and calls as jobs of the worker pool, and their replies as results."""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.encoding.codec_options import coding_of
from event_collector.handlers.collector import ADAPTIVE, Collector
from event_collector.remote.codec import ReplyDecoder
from event_collector.remote.fidelity import Fidelity
from event_collector.values.errors import EventCancelled
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Result, failure
from event_collector_workers.job import Buffer, Job, TimeLimit
from event_collector_workers.limits import WorkerLimits
from event_collector_workers.pool_errors import JobCancelled, JobSilent, JobTimeout, PoolClosed, WorkerPoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from event_collector.events.event import CollectorEvent
    from event_collector.tiers.workers.exchangeable import Decode


class ResultSink(Protocol):
    """The owner of the events."""

    def ended_many(self, ended: "list[tuple[CollectorEvent, Result[Any], float]]", /) -> None:
        """Take the results of events, each with its seconds in the handler."""

    def hand_out(self) -> None:
        """Note that workers have room again."""


class JobOwner(Protocol):
    """What has the jobs."""

    def recall(self, job: Job, /) -> bool:
        """Take a job back from its worker unless it has begun there; return whether it waits now."""

    def cancel(self, job: Job, /) -> bool:
        """Withdraw a job, or kill the worker that runs it; return False if it has just ended."""

    def copy(self, parts: "Sequence[Buffer]", /) -> memoryview:
        """Return the bytes of the parts in read-only memory of their own."""

    def go_on(self, job: Job, credit: int, /) -> None:
        """Have a job give so many parts more; 0: have it end."""


class CollectorTask:
    """A collector as a task of the pool."""

    def __init__(
        self, number: int, collector: Collector, limits: WorkerLimits | None, events: ResultSink, jobs: JobOwner
    ) -> None:
        self.number, self.key = number, collector.key
        self.limit = TimeLimit(collector.timeout, collector.heartbeat) if collector.is_limited else None
        self.collector, self.jobs = collector, jobs
        self.part = collector.remote_usage if collector.mode == ADAPTIVE else None
        """The part of the usage that workers have, if there is another one."""
        self._limits, self._events = limits, events
        self.coding = coding_of(collector.codec)
        self.fidelity = Fidelity(collector.payload_type, self.coding, jobs.copy)
        self.decoder = ReplyDecoder(collector.result_type, collector.key, self.coding)
        self.decode: Decode = self.decoder
        self.ended: list[tuple[Any, Result[Any], float]] = []
        """Events with their results and seconds in the handler, until `settle()`."""

    def decode_with(self, decode: "Decode | None") -> None:
        """Have replies decoded by another function; None: by its own decoder."""
        self.decode = decode or self.decoder

    def settle(self) -> None:
        """Pass the events that have ended on to the dispatcher."""
        ended, self.ended = self.ended, []
        seconds = [elapsed for _, _, elapsed in ended]
        self.collector.usage.ended_together(seconds)
        if self.part is not None:
            self.part.ended_together(seconds)
        self._events.ended_many(ended)

    def began_call(self) -> None:
        """Count a call that begins."""
        self.collector.usage.began()
        if self.part is not None:
            self.part.began()

    def ended_call(self, elapsed: float) -> None:
        """Count a call that has ended, after so many seconds in the handler."""
        self.collector.usage.ended(elapsed)
        if self.part is not None:
            self.part.ended(elapsed)

    def fail(self, event: Any, error: BaseException, elapsed: float) -> None:
        """End an event with an error of the pool."""
        self.ended.append((event, self.failed(self.explain(error), event.payload), elapsed))
        self.settle()

    def explain(self, error: BaseException) -> BaseException:
        """Return the queue's error for an error of the pool. Other errors are returned unchanged."""
        if isinstance(error, JobTimeout):
            is_silent = isinstance(error, JobSilent)
            ours: BaseException = self.collector.timeout_error(is_silent=is_silent, place=error.place)
            if error.stack:
                ours.add_note(f"The Python stack of the worker before it was killed:\n{error.stack}")
        elif isinstance(error, JobCancelled):
            ours = EventCancelled("the event was cancelled in its worker")
        elif isinstance(error, PoolClosed):
            ours = QueueShutDown("the queue was shut down before this event was finished")
        else:
            if isinstance(error, WorkerPoolError) and error.args:
                limits = "" if self._limits is None else f"; its limits: {self._limits}"
                error.args = (f"collector {self.key!r}: {error.args[0]}{limits}", *error.args[1:])
            return error
        ours.__cause__ = error
        return ours

    def failed(self, error: BaseException, payload: Payload[Any]) -> Result[Any]:
        """Return the Error of an event."""
        return failure(error, self.collector.process, (payload,), {}, self.key)


class EventJob(Job):
    """An event that goes to one collector, in a worker."""

    __slots__ = ("event", "of")

    def __init__(self, task: CollectorTask, body: bytes, blob: Any, event: Any) -> None:
        self.task, self.limit = task.number, task.limit
        self.body, self.blob = body, blob
        self._place = None
        self.event, self.of = event, task
        event.place = self  # CollectorEvent.move_to()

    def cancel_event(self, event: "CollectorEvent", *, running: bool) -> bool:
        """Withdraw the job, or kill the worker that runs it. Return False if it is left alone, or has just ended."""
        if not running and not self.of.jobs.recall(self):
            return False
        # Noted first: a job that has not started ends within the call.
        return not event.note_cancelled() or self.of.jobs.cancel(self)

    def note_waiter(self) -> None:
        """Do nothing: the queue runs, so no reminder is due."""

    def succeeded(self, body: bytes | memoryview, blob: Buffer | None, elapsed: float) -> None:
        """Take the outcome of the handler, which may be an exception."""
        task, event = self.of, self.event
        try:
            result = task.decode(body, blob)
        except (Exception, asyncio.CancelledError) as exc:
            result = task.failed(exc, event.payload)
            # Its frames are those of this program; by their callers they would have the event hold itself.
            BaseException.with_traceback(exc, None)
        task.ended.append((event, result, elapsed))

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Take an error of the pool."""
        self.of.fail(self.event, error, elapsed)


class CallJob(Job):
    """A call of `Collector.process()`. A coroutine waits for `outcome`."""

    __slots__ = ("event_id", "of", "outcome")

    outcome: "asyncio.Future[Any]"
    of: CollectorTask
    event_id: int
    """The event whose handler makes the call; 0 if it is not known."""

    def succeeded(self, body: bytes | memoryview, blob: Buffer | None, elapsed: float) -> None:
        """Take the outcome of the handler, which may be an exception."""
        self.of.ended_call(elapsed)
        if self.outcome.done():
            return
        try:
            self.outcome.set_result(self.of.decode(body, blob))
        except (Exception, asyncio.CancelledError) as exc:
            self.outcome.set_exception(exc)

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Take an error of the pool."""
        self.of.ended_call(elapsed)
        if not self.outcome.done():
            self.outcome.set_exception(self.of.explain(error))


class BatchJob(Job):
    """A call of a batch handler. A coroutine waits for its reply, and the seconds that it took."""

    __slots__ = ("of", "reply")

    reply: "asyncio.Future[tuple[bytes, float]]"

    def __init__(self, task: CollectorTask, body: bytes, reply: "asyncio.Future[tuple[bytes, float]]") -> None:
        super().__init__(task.number, body)
        self.of, self.reply, self.limit = task, reply, task.limit

    def succeeded(self, body: bytes | memoryview, blob: Buffer | None, elapsed: float) -> None:
        """Take the answers to its events, or the exception of the call."""
        if not self.reply.done():
            self.reply.set_result((bytes(body), elapsed))

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Take an error of the pool."""
        if not self.reply.done():
            self.reply.set_exception(self.of.explain(error))
