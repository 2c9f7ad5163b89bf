"""Events that are on record: how they enter the queue, in this life of the program or from an earlier one."""

from collections.abc import Mapping
from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any

from event_collector.dispatch.worker_line import WorkerLine
from event_collector.events.backlog import RecordedBacklog
from event_collector.events.course import Course
from event_collector.events.event import CollectorEvent
from event_collector.events.recorder import Recorder
from event_collector.handlers.attempt import Attempt
from event_collector.values.payload import Payload
from event_collector.values.refusals import another

__all__ = ["RecordedEvents"]


class RecordedEvents(WorkerLine):
    """The part of a dispatcher that only a queue with a recorder needs."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _keep(self, event: CollectorEvent, variables: ContextVars) -> None: ...

    def attach_recorder(self, recorder: Recorder) -> None:
        """Have every event put on record. Before `open()`, and for good."""
        self.recorder = self.supervisor.recorder = self.supervisor.letters.recorder = recorder
        self._backlog = RecordedBacklog(self._backlog, recorder.started)
        self._remote_backlog = RecordedBacklog(self._remote_backlog, recorder.started)
        self._push = self._backlog.push
        self.crowded = True

    def withdraw(self, event: CollectorEvent) -> None:
        """An event that was put on record is not accepted."""
        self._release_room()
        if self.recorder is not None:
            self.recorder.withdrawn(event)

    def admit(self, event: CollectorEvent) -> None:
        """Accept an event that is on record.

        Raises:
            QueueShutDown: meanwhile the queue takes no more events.

        """
        if self._refusal is not None:
            self.withdraw(event)
            raise another(self._refusal)
        self._enter(event, is_new=True)

    def recover(
        self,
        event_id: int,
        payload: Payload[Any],
        attempts: Mapping[str, Attempt] | None = None,
        *,
        deadline: float | None = None,
        delay: float = 0.0,
    ) -> CollectorEvent:
        """Accept an event that is on record from before the start, without recording it again.

        Args:
            event_id: its id; see `reserve_ids()`.
            payload: what was sent.
            attempts: by key, the collectors that have not finished it, and what they have tried; they are called
                again, and no others. None or empty: wherever the payload goes.
            deadline: when the last attempt may begin, by the clock of the queue; None for no limit.
            delay: seconds until the next of these attempts may begin.

        """
        course = None if deadline is None else Course(deadline)
        if attempts:
            course = Course(deadline, tuple(attempts))
            course.attempts = dict(attempts)
        event = CollectorEvent(event_id, payload, owner=self, course=course)
        self._keep(event, ContextVars())
        if course is not None:
            self.supervisor.prepare(event, course)
        if course is not None and attempts and delay > 0:
            self.accepted += 1
            self.supervisor.resume(event, course, delay)
            return event
        if self._capacity is not None:
            self._capacity.take()
        self._enter(event, is_new=False)
        return event

    def _enter(self, event: CollectorEvent, *, is_new: bool) -> None:
        self.accepted += 1
        if self.idle:
            self._notice_activity()
        if event.course is not None and self._is_late(event, event.course):
            return
        if is_new and self._is_dropped(event):
            return
        if self._tier is not None and self.plan.is_remote(event.payload):
            self._push_remote(event)
            self._submit_jobs()
        else:
            self._push(event)
        self.schedule_pump()
