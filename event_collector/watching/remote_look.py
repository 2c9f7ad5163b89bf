"""Looks at a queue for exporters, which ask in threads of their own: taken in the thread of the queue's event loop."""

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Final

from event_collector.watching.snapshot import Snapshot

if TYPE_CHECKING:
    from event_collector.queue import CollectorQueue

__all__ = ["TIMEOUT", "RemoteLook"]

TIMEOUT: Final = 5.0
"""Seconds that the event loop gets to answer."""


class RemoteLook:
    """Takes snapshots of one queue, for whatever thread asks.

    Args:
        queue: what is looked at.
        timeout: seconds that its event loop may take to answer.

    """

    def __init__(self, queue: "CollectorQueue", timeout: float = TIMEOUT) -> None:
        self._queue, self._timeout = queue, timeout
        self._look = queue.make_observer().look

    def __call__(self) -> Snapshot:
        """Return a snapshot of this instant.

        Raises:
            TimeoutError: the event loop of the queue does not answer.

        """
        loop = self._queue.loop
        if loop is None or not loop.is_running() or loop is asyncio._get_running_loop():
            return self._look()
        answer: concurrent.futures.Future[Snapshot] = concurrent.futures.Future()

        def look() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(self._look())
                except Exception as exc:
                    answer.set_exception(exc)

        try:
            loop.call_soon_threadsafe(look)
        except RuntimeError:  # closed just now: nothing changes any more
            return self._look()
        try:
            return answer.result(self._timeout)
        except concurrent.futures.TimeoutError:
            answer.cancel()
            raise TimeoutError(
                f"the event loop of {self._queue.id} did not answer within {self._timeout:g} s: it is blocked"
            ) from None
