"""The program's side of the outlet of one worker: its records are reported before the results that follow them."""

import asyncio
from collections.abc import Callable
from typing import Final

from event_collector_workers.transport.outlet import OutletReader
from event_collector_workers.transport.page import ParentPage

_TURNS: Final = 8  # turns in which what is left of a worker is read, at most


class WorkerOutput:
    """Receives the records of one worker, in the loop's thread.

    `on_record` gets process id, kind and body of each. Raises OSError if descriptors have run out.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, page: ParentPage, on_record: Callable[[int, int, bytes], None]
    ) -> None:
        self._loop, self._page = loop, page
        self._intake = OutletReader(on_record)
        self._is_watched = True
        loop.add_reader(self._intake.fileno(), self._receive)

    def __repr__(self) -> str:
        return f"<WorkerOutput {self._intake!r}>"

    @property
    def writer(self) -> int:
        """The descriptor for the worker."""
        return self._intake.writer

    def close_writer(self) -> None:
        """Close the worker's end in this process."""
        self._intake.close_writer()

    def catch_up(self) -> None:
        """Report what the worker has sent before its results. Call it after a fence."""
        if self._page.has_output():
            self._receive()

    def receive_all(self) -> None:
        """Report what is left, after the process has ended. One that it has forked may go on writing."""
        for _ in range(_TURNS):
            self._receive()

    def close(self) -> None:
        """Release the pipe. Idempotent."""
        self._unwatch()
        self._intake.close()

    def _receive(self) -> None:
        self._intake.receive()
        if self._intake.is_closed:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._intake.fileno())
