"""The reader of a queue in this program: looks at it once a second while a page is open, and not otherwise.

queue with monitor= --> its socket -----------------------.
queue without ------> Observer, Inspector, in its loop ---'--> Watched
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from event_collector.watching.observer import call_in_loop
from event_collector.web.socket_reader import follow_socket
from event_collector.web.watched import Watched

if TYPE_CHECKING:
    from event_collector.queue import CollectorQueue
    from event_collector.watching.details import Details
    from event_collector.watching.snapshot import Snapshot
    from event_collector.watching.viewers import DetailSource

INTERVAL: Final = 1.0
"""Seconds between two looks."""
LINGER: Final = 10.0
"""Seconds after the last request in which the queue is still looked at, so that the plots of the next page go on."""

_inspecting: Final["WeakKeyDictionary[CollectorQueue, LocalReader]"] = WeakKeyDictionary()
"""The reader that inspects a queue: only one can, and others of that queue have snapshots only."""


class LocalReader:
    """Looks at one queue. It belongs to the event loop that serves the page, which may be another than the queue's.

    `path` is that of the queue's monitor socket, which has details; None if it has none.
    """

    def __init__(self, queue: "CollectorQueue", watched: Watched, path: str | None = None) -> None:
        self._queue, self._watched, self._path = queue, watched, path
        self._observer = queue.make_observer()
        self._wanted = 0.0
        self._task: asyncio.Task[None] | None = None
        # Of the thread of the queue's event loop:
        self._inspector: DetailSource | None = None
        self._cost = 0.0  # of the last look, in seconds

    def __repr__(self) -> str:
        return f"<LocalReader of {self._queue.id}: {'asleep' if self._task is None else 'looking'}>"

    def wake(self) -> None:
        """Look at the queue from now on, until nobody asks for LINGER seconds."""
        self._wanted = monotonic()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="dashboard")

    async def _run(self) -> None:
        follower = None
        if self._path is not None:
            follower = asyncio.create_task(follow_socket(self._path, self._watched))
        try:
            while monotonic() - self._wanted < LINGER:
                if follower is None:
                    await self._look()
                await asyncio.sleep(INTERVAL)
        finally:
            self._task = None
            if follower is not None:
                follower.cancel()
            else:
                self._leave()

    async def _look(self) -> None:
        try:
            if self._queue.loop is asyncio.get_running_loop():
                snapshot, details = self._take()
            else:
                snapshot, details = await asyncio.to_thread(call_in_loop, self._queue, self._take)
        except TimeoutError:
            return  # the page says that nothing comes
        self._watched.take(snapshot)
        if details is not None:
            self._watched.take_details(details)

    def _leave(self) -> None:
        """Have the inspection end in the queue's loop. If that is blocked, this comes when it goes on."""
        loop = self._queue.loop
        try:
            if loop is not None and loop.is_running():
                loop.call_soon_threadsafe(self._rest)
                return
        except RuntimeError:  # it has closed meanwhile
            pass
        self._rest()

    # In the thread of the queue's event loop

    def _take(self) -> "tuple[Snapshot, Details | None]":
        began = monotonic()
        found = self._observer.look(), self._inspect()
        self._cost = monotonic() - began
        return found

    def _inspect(self) -> "Details | None":
        if not self._queue.is_running or _inspecting.setdefault(self._queue, self) is not self:
            self._rest()
            return None
        is_first = self._inspector is None
        self._inspector = self._inspector or self._queue.make_inspector()
        return self._inspector.look(with_settings=is_first, cost=self._cost)

    def _rest(self) -> None:
        if self._inspector is not None:
            self._inspector.end()
            self._inspector = None
        if _inspecting.get(self._queue) is self:
            del _inspecting[self._queue]
