"""A failed event that nobody has looked at. Its class says so: an event that succeeds pays nothing for the question."""

from collections.abc import Callable
from typing import Final
from weakref import ref

from event_collector.events.event import CollectorEvent
from event_collector.values.results import ResultList


class FailedEvent(CollectorEvent, eq=False, weakref=True):
    """An event with an Error among its results. When somebody looks at them, it is a plain CollectorEvent again."""

    async def wait(self) -> ResultList:
        """Return the results, which are heard of then."""
        self.note_look()
        return await self.wait()  # now that of CollectorEvent, as below

    def get_result(self) -> ResultList | None:
        """Return the results, which are heard of then."""
        self.note_look()
        return self.get_result()

    def set_result(self, result: ResultList) -> None:
        """Finish the event. Whoever waits for it hears of the failure."""
        if self._waiters:  # an empty dict is left of those who gave up
            self.note_look()
        CollectorEvent.set_result(self, result)

    def hold(self) -> None:
        """Wait for another attempt, which may succeed."""
        self.note_look()
        self.hold()

    def note_look(self) -> None:
        """Note that somebody has heard of the failure, or will."""
        self.become(CollectorEvent)
        watched = _watched.pop(self.id, None)
        if watched is not None:
            watched.on_look(self.id)


class _Watched(ref[CollectorEvent]):
    """Knows a failed event until it is garbage."""

    __slots__ = ("id", "on_garbage", "on_look")

    id: int
    on_garbage: Callable[[int], None]
    on_look: Callable[[int], None]

    def __new__(cls, event: CollectorEvent, **_calls: Callable[[int], None]) -> "_Watched":
        return super().__new__(cls, event, _lost)

    def __init__(
        self, event: CollectorEvent, *, on_look: Callable[[int], None], on_garbage: Callable[[int], None]
    ) -> None:
        self.id, self.on_look, self.on_garbage = event.id, on_look, on_garbage


_watched: Final[dict[int, _Watched]] = {}
"""The failed events that exist and that nobody has looked at, by id. Ids are unique in the program."""


def _lost(watched: ref[CollectorEvent]) -> None:
    if isinstance(watched, _Watched) and _watched.pop(watched.id, None) is not None:
        watched.on_garbage(watched.id)


def watch_failure(event: CollectorEvent, *, on_look: Callable[[int], None], on_garbage: Callable[[int], None]) -> None:
    """Have one of the two called with the id of an event that fails: when somebody looks, or when it is garbage.

    Somebody looks who waits for the event now or later, awaits it, reads its results, or has `on_done()` call
    something. `on_garbage` may be called in any thread, at any point: it must take no lock.
    """
    if event.id not in _watched:
        _watched[event.id] = _Watched(event, on_look=on_look, on_garbage=on_garbage)
        event.become(FailedEvent)
