"""Waits of handlers for events of their own queue or of others, or for room in their own.

If such handlers held all places of a queue, they could wait for ever: for an event of this queue, or, in a circle, for
one of another queue whose handlers wait for events of this one. The dispatcher then lends the place of one of them to
an event that is waited for. A context variable tells in which handler a wait takes place. The tasks that a handler
starts have a copy of it.
"""

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakSet

from event_collector.events.progress_board import ProgressBoard
from event_collector.handlers.progress_reports import RunningProgress, register_report
from event_collector.handlers.running_event import running_event, running_id
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

Event: TypeAlias = Any
"""A CollectorEvent, whose module imports this one."""

Mark: TypeAlias = tuple["NestedWaits", int | tuple[int, ...]]
"""The waits of a queue, and the id of the event that is handled in a context, or of all events of a batch."""

_handled: Final[ContextVar[Mark]] = ContextVar("event_collector_handled")

mark_handler: Final = _handled.set
"""Takes the mark of the handler in this context. Contexts outlive events."""


def _nothing() -> None:
    """Nothing lends places."""


class _Neighbours(threading.local):
    """The waits of all queues whose event loops run in this thread."""

    def __init__(self) -> None:
        self.all: WeakSet[NestedWaits] = WeakSet()


_neighbours: Final = _Neighbours()


class NestedWaits:
    """The waits within the handlers of one queue, the oldest first.

    Attributes:
        board: what the handlers have reported, too.
    """

    __slots__ = ("__weakref__", "_on_wait", "_waits", "board")

    def __init__(self) -> None:
        self.board = ProgressBoard()
        self._on_wait: Callable[[], None] = _nothing
        self._waits: dict[asyncio.Future[None], tuple[tuple[int, ...], Event | None]] = {}

    def tell_of_each(self, on_wait: "Callable[[], None]") -> None:
        """Have `on_wait` called at the begin of each wait."""
        self._on_wait = on_wait

    def add(self, future: "asyncio.Future[None]", handled: int | tuple[int, ...], awaited: Event | None) -> None:
        """Note that a handler waits until `future` is done: for an event, or for room if `awaited` is None."""
        self._waits[future] = (handled,) if isinstance(handled, int) else handled, awaited
        future.add_done_callback(self._waits.pop)
        self._on_wait()
        _neighbours.all.add(self)
        if awaited is not None and len(_neighbours.all) > 1:
            for other in self._others():  # it may be theirs
                other._on_wait()

    def of_all(self, busy: int, running: "Callable[[], set[int]]") -> "dict[asyncio.Future[None], Event | None]":
        """Return the waits if all handlers wait; none if one of them is doing something else.

        Args:
            busy: the number of handlers.
            running: returns the ids of the events whose handlers wait for something.
        """
        if sum(len(handled) for handled, _ in self._waits.values()) < busy:
            return {}
        # A task may outlive the handler that started it: its waits hold no place.
        ids = running()
        waits = [
            (future, handled, awaited)
            for future, (handled, awaited) in self._waits.items()
            if not future.done() and not ids.isdisjoint(handled)
        ]
        if len(ids & {one for _, handled, _ in waits for one in handled}) < busy:
            return {}
        return {future: awaited for future, _, awaited in waits}

    def awaited_elsewhere(self) -> "list[Event]":
        """Return the events that handlers of other queues in this thread wait for."""
        return [awaited for other in self._others() for _, awaited in other._waits.values() if awaited is not None]

    def _others(self) -> "list[NestedWaits]":
        return [other for other in _neighbours.all if other is not self and other._waits]

    def __len__(self) -> int:
        return len(self._waits)

    def __repr__(self) -> str:
        return f"<NestedWaits {len(self)}>"


def note_wait(future: "asyncio.Future[None]", awaited: Event | None, only: NestedWaits | None = None) -> None:
    """Note a wait that begins in a handler, of any queue or only of the one with these waits.

    Raises ConfigError if a handler waits for its own event.
    """
    mark = _handled.get(None)
    if mark is not None and (only is None or only is mark[0]):
        waits, handled = mark
        if awaited is not None and awaited.id == handled:
            refuse_own_wait(waits)
        waits.add(future, handled, awaited)


def _report_here(done: float, total: float | None, note: str) -> bool:
    """Take the progress of a handler in this context."""
    mark = _handled.get(None)
    if mark is None:
        return False
    waits, handled = mark
    event = running_event()
    collector = event.collector if event is not None and event.event_id in (handled, None) else None
    for one in (handled,) if isinstance(handled, int) else handled:
        waits.board.post(RunningProgress(one, collector, None, float(done), total, note, clock.now()))
    return True


def refuse_own_wait(waits: NestedWaits) -> None:
    """Raise ConfigError in a handler of the queue with these waits: its own event ends only when the handler does.

    A task that the handler has started may wait: the handler need not wait for the task.
    """
    mark = _handled.get(None)
    if mark is not None and mark[0] is waits and running_id() == mark[1]:
        raise ConfigError(
            f"the handler of event {mark[1]} would wait for its own event, which ends when the handler does: "
            f"wait in the program, or in a task that the handler starts and does not await"
        )


def handler_mark() -> Mark | None:
    """Return the mark of the handler in this context; None outside of one."""
    return _handled.get(None)


register_report(_report_here)
