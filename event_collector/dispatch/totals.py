"""Totals: counts and times of a queue's events, and those who wait until none is unfinished."""

import asyncio
from typing import TYPE_CHECKING

from event_collector.values.results import ResultList

if TYPE_CHECKING:
    from collections.abc import Mapping

    from event_collector.events.event import CollectorEvent
    from event_collector.events.start_reminder import StartReminder
    from event_collector.handlers.usage import Usage
    from event_collector.watching.metrics import Meter


class Totals:
    """Bookkeeping that nothing can leave half done: it touches no user object and calls nothing that can raise.

    Only this class writes its fields; `Ending` repeats two methods on the way of every event.

    Args:
        meter: keeps the times of finished events.

    Attributes:
        accepted: events that were accepted.
        finished: events that have their results, dead ones included.
        dropped: events that made room in a full queue.
        service_total: seconds that all attempts spent in handlers.
        service_times: seconds in handlers of the last attempts.
        wait_times: seconds from sending to the end of the last attempts.
        joiners: futures of those who wait until no event is unfinished.
        reminder: reminds those who wait before the start; None after it.
    """

    __slots__ = (
        "_waits", "accepted", "dropped", "finished", "joiners", "reminder", "service_times", "service_total",
        "wait_times",
    )  # fmt: skip

    def __init__(self, meter: "Meter") -> None:
        self.accepted = self.finished = self.dropped = 0
        self.service_total = 0.0
        self.service_times, self.wait_times = meter.service_times, meter.wait_times
        self._waits: Mapping[str | None, Usage] | None = None
        self.joiners: dict[asyncio.Future[None], None] = {}
        self.reminder: StartReminder | None = None

    @property
    def unfinished(self) -> int:
        """How many accepted events have no results yet."""
        return self.accepted - self.finished

    @property
    def has_waits_by_collector(self) -> bool:
        """Whether the times of each of several collectors are kept."""
        return self._waits is not None

    def remind(self, reminder: "StartReminder | None") -> None:
        """Set who reminds those who wait; None once the queue has started."""
        self.reminder = reminder

    def keep_waits(self, waits: "Mapping[str | None, Usage] | None") -> None:
        """Keep the last events' times from sending to the end by collector; None where there is only one."""
        self._waits = waits

    def accept(self, count: int = 1) -> None:
        """Count events."""
        self.accepted += count

    def drop(self) -> None:
        """Count an event that made room."""
        self.dropped += 1

    def forget_times(self) -> None:
        """Empty the windows of times, at the start of a queue."""
        self.service_times.clear()
        self.wait_times.clear()

    def note_attempt(self, event: "CollectorEvent", now: float) -> None:
        """Note the times of an attempt that has just ended."""
        event.end(now)
        service = now - event.started
        self.service_total += service
        self.service_times.append(service)
        self.wait_times.append(now - event.created)

    def note_waits(self, results: ResultList, wait: float) -> None:
        """Note the time from sending to the end for each collector that answered; results may be odd, and raise."""
        for result in results:
            usage = None if self._waits is None else self._waits.get(getattr(result, "key", None))
            if usage is not None:  # a router of the application may answer anything
                usage.waited(wait)

    def finish(self, event: "CollectorEvent", results: ResultList) -> None:
        """Count the event as finished, give it its results, and wake those who wait."""
        self.finished += 1
        event.move_to(None)
        event.set_result(results)
        if self.joiners:
            self.wake_joiners()

    def finish_many(self, seconds: list[float], wait: float) -> None:
        """Count events as finished that were so long in the handler each, and were accepted `wait` seconds ago."""
        self.service_total += sum(seconds)
        self.service_times.extend(seconds)
        self.wait_times.extend([wait] * len(seconds))
        self.finish_unstarted(len(seconds))

    def finish_unstarted(self, count: int) -> None:
        """Count events as finished that were in no handler, and wake those who wait."""
        self.finished += count
        if self.joiners:
            self.wake_joiners()

    def wake_joiners(self) -> None:
        """Wake those who wait until no event is unfinished, if none is."""
        if self.finished < self.accepted:
            return
        joiners, self.joiners = self.joiners, {}
        for joiner in joiners:
            if not joiner.done() and not joiner.get_loop().is_closed():
                joiner.set_result(None)

    async def join(self) -> None:
        """Wait until no accepted event is unfinished."""
        if self.finished == self.accepted:
            return
        if self.reminder is not None:
            self.reminder.remind()
        joiner = asyncio.get_running_loop().create_future()
        self.joiners[joiner] = None
        try:
            await joiner  # and not for what is accepted before this task runs again: it might never end
        finally:
            self.joiners.pop(joiner, None)

    def __repr__(self) -> str:
        return f"<Totals {self.finished} of {self.accepted} finished, {self.dropped} dropped>"
