"""The end of an event: its times and results, its place for the next one, and those who wait for it."""

import asyncio
from typing import TYPE_CHECKING, Any

from event_collector.dispatch.dispatcher_state import DispatcherState
from event_collector.values.clock import clock
from event_collector.values.results import Error, Result, ResultList, new_list, single

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent

__all__ = ["Settlement"]


class Settlement(DispatcherState):
    """The part of a dispatcher that sees events out."""

    __slots__ = ()

    if TYPE_CHECKING:

        def schedule_pump(self) -> None: ...  # noqa: D102

    def finish(self, ended: "list[tuple[CollectorEvent, Result[Any], float]]") -> None:
        """Events of workers have a result, after so many seconds in the handler.

        What settle() does, for many in one go: workers answer in batches. No consumer is there to take the next event
        in their place, so that is looked for.
        """
        now, was_full, count = clock.now(), self.busy >= self.size, len(ended)
        if self._supervised is not None or self.waits is not None:
            for event, result, seconds in ended:
                event.started, place = now - seconds, event.place
                results = single(result)
                if self.waits is None:
                    self.count_errors(results)
                self.settle(event, results, now)
                if event.place is place:
                    event.place = None
        else:
            self.busy -= count
            self.finished += count
            service_times, note_wait = [seconds for _, _, seconds in ended], self._wait_times.append
            self.service_total += sum(service_times)
            self._service_times.extend(service_times)
            for event, result, seconds in ended:
                event.started, event.finished = now - seconds, now
                event.place = None  # what has ended does not keep what was sent of it, nor form a cycle
                note_wait(now - event.created)
                results = new_list(ResultList)
                results.append(result)
                if result.is_error:
                    self.count_errors(results)
                if event._results is None and event._waiters is None:
                    event._results = results
                else:
                    event.set_result(results)
            if self._joiners:
                self._wake_joiners()
        if was_full and self.qsize:
            self.schedule_pump()

    def settle(self, event: "CollectorEvent", results: ResultList, now: float) -> None:
        """An event has left its handlers: note its times, set its results, free its place."""
        self.busy -= 1
        event.finished = now
        service_time = now - event.started
        self.service_total += service_time
        self._service_times.append(service_time)
        self._wait_times.append(now - event.created)
        if self.waits is not None:
            self._note_wait(results, now - event.created)
        if self._supervised is not None:
            self._supervised.settle(event, results)
            return
        self.finished += 1
        if event._results is None and event._waiters is None:
            event._results = results
        else:
            event.set_result(results)
        if self._joiners:
            self._wake_joiners()

    def _note_wait(self, results: ResultList, seconds: float) -> None:
        self.count_errors(results)
        for result in results:
            collector = self.plan.collectors.get(result.key or "")
            if collector is not None:  # a custom router may return results with other keys
                collector.usage.waited(seconds)

    def count_errors(self, results: ResultList) -> None:
        """Note which collectors have failed; where there is one, those who call `settle()` do so."""
        for result in results:
            if (
                isinstance(result, Error)
                and (failed := self.plan.collectors.get(result.key or "")) is not None
            ):
                failed.usage.failed()

    def conclude(self, event: "CollectorEvent", results: ResultList, *, on_record: bool = True) -> None:
        """An event has left its handlers, or what it waited in, for good. Not `on_record`: the next start has it."""
        course = event.course
        if course is not None and course.original is not None:
            event.payload = course.original
        event.place = None
        if course is not None:
            self.supervisor.letters.finished(event.id)
        self.finished += 1
        event.set_result(results)
        if self.recorder is not None and on_record:
            self.recorder.finished(event)
        self._wake_joiners()

    def _wake_joiners(self) -> None:
        if not self._joiners or self.finished < self.accepted:
            return
        joiners, self._joiners = self._joiners, {}
        for joiner in joiners:
            if not joiner.done():
                joiner.set_result(None)

    async def join(self) -> None:
        """Wait until no accepted event is unfinished."""
        if self.finished == self.accepted:
            return
        if self.reminder is not None:
            self.reminder.remind()
        joiner = asyncio.get_running_loop().create_future()
        self._joiners[joiner] = None
        try:
            await joiner  # and not for what is accepted before this task runs again: it might never end
        finally:
            self._joiners.pop(joiner, None)
