"""The reader of a queue in this program: looks at it once a second while a page is open, and not otherwise."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

from event_collector.watching.observer import ThreadSafeObserver
from event_collector.web.socket_reader import follow_socket
from event_collector.web.watched import Watched

if TYPE_CHECKING:
    from event_collector.queue import CollectorQueue

INTERVAL: Final = 1.0
"""Seconds between two looks."""
LINGER: Final = 10.0
"""Seconds after the last request in which the queue is still looked at, so that the plots of the next page go on."""


class LocalReader:
    """Looks at one queue. It belongs to the event loop that serves the page, which may be another than the queue's.

    `path` is that of the queue's monitor socket, which has details; None if it has none.
    """

    def __init__(self, queue: "CollectorQueue", watched: Watched, path: str | None = None) -> None:
        self._queue, self._watched, self._path = queue, watched, path
        self._observer = ThreadSafeObserver(queue)
        self._wanted = 0.0
        self._task: asyncio.Task[None] | None = None

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

    async def _look(self) -> None:
        if self._queue.loop is asyncio.get_running_loop():
            self._watched.take(self._observer.look())
            return
        try:
            self._watched.take(await asyncio.to_thread(self._observer.look))
        except TimeoutError:
            return  # the page says that nothing comes
