"""Events in the order in which they finish."""

import asyncio
from collections import deque
from dataclasses import dataclass

from event_collector.events.event import CollectorEvent
from event_collector.events.nesting import note_wait


class CompletionStream:
    """Collects events in the order in which they finish, without a future or a turn of the loop for each."""

    def __init__(self) -> None:
        self.pending: dict[_Completion, None] = {}
        self.arrived: deque[CollectorEvent] = deque()
        self._wakeup: asyncio.Future[None] | None = None

    def watch(self, event: CollectorEvent) -> None:
        """Add an event, finished or not."""
        if event.is_done():
            event.note_look()
            self.arrived.append(event)
            return
        completion = _Completion(event, self)
        self.pending[completion] = None
        event.add_waiter(completion)

    def finished(self, completion: "_Completion") -> None:
        """Move an event to `arrived`, and wake `wait()`."""
        del self.pending[completion]
        self.arrived.append(completion.event)
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def wait(self) -> None:
        """Wait until another event has finished."""
        self._wakeup = asyncio.get_running_loop().create_future()
        note_wait(self._wakeup, next(iter(self.pending)).event)
        await self._wakeup

    def close(self) -> None:
        """Stop watching."""
        for completion in self.pending:
            completion.event.remove_waiter(completion)


@dataclass(slots=True, eq=False)
class _Completion:
    """The waiter of one event, with the methods of a future that events use."""

    event: CollectorEvent
    stream: CompletionStream

    def done(self) -> bool:
        return False

    def set_result(self, _result: None, /) -> None:
        self.stream.finished(self)
