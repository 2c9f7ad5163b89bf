"""Recording: how events enter a queue that keeps a record, in this life of the program or from an earlier one."""

from collections.abc import Iterable, Mapping
from contextvars import Context as ContextVars
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.events.course import Course
from event_collector.events.event import CollectorEvent
from event_collector.events.event_ids import event_ids
from event_collector.values.clock import clock
from event_collector.values.payload import Payload

if TYPE_CHECKING:
    import asyncio

    from event_collector.events.recorder import Recorder
    from event_collector.handlers.attempt import Attempt

AT_ONCE: Final = 1000
"""Payloads of one `send_many()` that are recorded together: enough for few writes, few enough for other tasks."""

Draft: TypeAlias = "tuple[CollectorEvent, asyncio.Future[None] | None]"
"""An event that is not accepted yet, and what tells that it is on record."""


class Recording:
    """The ways into a queue with a recorder. An event is on record before it is accepted.

    Args:
        dispatcher: accepts the events.
        recorder: keeps the record.
    """

    def __init__(self, dispatcher: Dispatcher, recorder: "Recorder") -> None:
        self._dispatcher, self._recorder = dispatcher, recorder
        dispatcher.attach_recorder(recorder)

    @property
    def is_giving_up(self) -> bool:
        """Whether the queue's time to end is up: nothing more may begin."""
        return self._dispatcher.retries.is_giving_up

    async def send(self, payload: Payload[Any], course: Course | None) -> CollectorEvent:
        """Accept a payload once it is on record; cancelled before, it is not accepted."""
        event, written = await self._draft(payload, course)
        try:
            if written is not None:
                await written
        except BaseException:
            self._withdraw(event)
            raise
        self._admit(event)
        return event

    def send_nowait(self, payload: Payload[Any], course: Course | None) -> CollectorEvent:
        """Accept a payload at once; it will be on record a little later, or never, which the recorder tells."""
        self._dispatcher.gate.claim()
        event, written = self._put_on_record(payload, course)
        if written is not None:
            written.add_done_callback(_retrieve)
        self._admit(event)
        return event

    async def send_many(self, payloads: Iterable[Payload[Any]], deadline: float | None) -> list[CollectorEvent]:
        """Accept payloads in their order, many of them with one write; those before a cancellation are accepted."""
        events: list[CollectorEvent] = []
        drafts: list[Draft] = []
        try:
            for payload in payloads:
                if self._dispatcher.gate.must_wait or len(drafts) >= AT_ONCE:
                    events += await self._admit_all(drafts)  # they are what makes room, and hold it
                course = None if deadline is None else Course(deadline)
                drafts.append(await self._draft(payload, course))
            events += await self._admit_all(drafts)
        finally:
            for event, written in drafts:
                if written is not None:
                    written.add_done_callback(_retrieve)
                self._withdraw(event)
        return events

    def recover(
        self,
        event_id: int,
        payload: Payload[Any],
        attempts: "Mapping[str, Attempt] | None" = None,
        *,
        deadline: float | None = None,
        delay: float = 0.0,
    ) -> CollectorEvent:
        """Accept an event that is on record from before the start, without recording it again.

        Args:
            event_id: its id; ids to come must be higher, see `EventIds.reserve()`.
            payload: what was sent.
            attempts: by key, the collectors that have not finished it, and what they have tried. They are called
                again, and no others. None or empty: the event goes wherever its payload goes.
            deadline: when the last attempt may begin, by the clock of the queue, in seconds; None for no limit.
            delay: seconds until the next of these attempts may begin.
        """
        course = None if deadline is None else Course(deadline)
        if attempts:
            course = Course(deadline, tuple(attempts), attempts)
        event = CollectorEvent(event_id, payload, course=course)
        dispatcher = self._dispatcher
        dispatcher.keep(event, ContextVars())
        dispatcher.gate.take()
        if course is not None:
            dispatcher.retries.prepare(event, course)
        if course is None or not attempts or delay <= 0:
            dispatcher.admit(event, is_new=False)
            return event
        due = clock.now() + delay
        course.schedule_all(due)
        dispatcher.totals.accept()
        dispatcher.retries.resume(event, due)
        return event

    async def _draft(self, payload: Payload[Any], course: Course | None) -> Draft:
        if self._dispatcher.gate.is_bounded:
            await self._dispatcher.gate.wait()
        return self._put_on_record(payload, course)

    def _put_on_record(self, payload: Payload[Any], course: Course | None) -> Draft:
        """Make an event and have it recorded; its place in the queue is claimed already."""
        payload = self._dispatcher.gate.checked(payload)
        event = CollectorEvent(event_ids.next(), payload, course=course)
        self._dispatcher.keep(event, copy_context())
        self._dispatcher.sent_values.keep(event)
        try:
            return event, self._recorder.accept(event)
        except BaseException:
            self._dispatcher.gate.release()
            raise

    async def _admit_all(self, drafts: list[Draft]) -> list[CollectorEvent]:
        """Admit the drafts, the first first, each when it is on record; those that are not stay in the list."""
        admitted = []
        while drafts:
            event, written = drafts[0]
            if written is not None:
                await written
            del drafts[0]
            self._admit(event)
            admitted.append(event)
        return admitted

    def _admit(self, event: CollectorEvent) -> None:
        """Accept an event that is on record; QueueShutDown if the queue began to end meanwhile."""
        if self._dispatcher.gate.refusal is not None:
            self._withdraw(event)
            self._dispatcher.gate.check()
        self._dispatcher.admit(event)

    def _withdraw(self, event: CollectorEvent) -> None:
        """Strike out an event that is not accepted after all."""
        self._dispatcher.gate.release()
        self._recorder.withdrawn(event)


def _retrieve(written: "asyncio.Future[None]") -> None:
    if not written.cancelled():
        written.exception()  # nobody waits for it
