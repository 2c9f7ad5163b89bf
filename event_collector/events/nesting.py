"""Waits of handlers for events of their own queue, or for room in it.

If such handlers held all places of the queue, they would wait for ever. The dispatcher then lends the place of one of
them to an event that is waited for. A context variable tells in which handler a wait takes place. The tasks that a
handler starts have a copy of it.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

Event: TypeAlias = Any
"""A CollectorEvent, whose module imports this one."""

_handled: Final[ContextVar[Any]] = ContextVar("event_collector_handled")

mark_handler: Final = _handled.set
"""Takes a weak reference to the event that is handled in this context. Contexts outlive events, and are copied."""


def _nothing() -> None:
    """Nothing lends places."""


class NestedWaits:
    """The waits within the handlers of one queue, the oldest first."""

    __slots__ = ("_on_wait", "_waits")

    def __init__(self) -> None:
        self._on_wait: Callable[[], None] = _nothing
        self._waits: dict[asyncio.Future[None], tuple[Event, Event | None]] = {}

    def tell_of_each(self, on_wait: "Callable[[], None]") -> None:
        """Have `on_wait` called at the begin of each wait."""
        self._on_wait = on_wait

    def add(self, future: "asyncio.Future[None]", handled: Event, awaited: Event | None) -> None:
        """Note that a handler waits until `future` is done: for an event, or for room if `awaited` is None."""
        self._waits[future] = handled, awaited
        future.add_done_callback(self._waits.pop)
        self._on_wait()

    def of_all(self, handlers: int) -> "dict[asyncio.Future[None], Event | None]":
        """Return the waits if so many handlers wait, or more; none if one of them is doing something else."""
        if len(self._waits) < handlers:
            return {}
        # A task may outlive the handler that started it: its waits hold no place.
        waits = [
            (future, handled, awaited)
            for future, (handled, awaited) in self._waits.items()
            if not future.done() and _waits_of(handled) is self
        ]
        if len({handled.id for _, handled, _ in waits}) < handlers:
            return {}
        return {future: awaited for future, _, awaited in waits}

    def __len__(self) -> int:
        return len(self._waits)

    def __repr__(self) -> str:
        return f"<NestedWaits {len(self)}>"


def note_wait(future: "asyncio.Future[None]", awaited: Event | None, only: NestedWaits | None = None) -> None:
    """Note a wait that begins in a handler, of any queue or only of the one with these waits."""
    reference = _handled.get(None)
    handled = None if reference is None else reference()
    waits = None if handled is None else _waits_of(handled)
    if waits is not None and (only is None or only is waits):
        waits.add(future, handled, awaited)


def _waits_of(handled: Event) -> NestedWaits | None:
    """Return the waits of the queue in whose handler an event is now; None if it is in none on the event loop."""
    waits: NestedWaits | None = getattr(handled.place, "waits", None)
    return waits
