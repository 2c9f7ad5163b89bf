"""An event of a handler that yields, as a job of the worker pool that gives parts."""

import asyncio
from typing import Any

from event_collector.handlers.parts import REFILL, PartSink, as_part
from event_collector.remote.codec import ReplyDecoder
from event_collector.tiers.workers.event_jobs import CallJob, CollectorTask
from event_collector_workers.job import PARTS_AHEAD


class PartsJob(CallJob):
    """Hands parts to the sink of the event, and lets the handler go on as the sink has room.

    Args:
        task: the collector.
        body, blob: the encoded payload.
        sink: takes the parts.
    """

    __slots__ = ("_credit", "_decode", "_error", "_sink")

    def __init__(self, task: CollectorTask, body: bytes, blob: Any, sink: PartSink) -> None:
        super().__init__(task.number, body, blob)
        self.limit = task.limit
        self.of, self.outcome = task, asyncio.get_running_loop().create_future()
        self._sink, self._credit = sink, PARTS_AHEAD  # parts that the worker may send now
        self._decode = ReplyDecoder(task.collector.part_type, task.key, task.coding)
        self._error: BaseException | None = None  # of a part that does not fit its type

    def produced(self, body: bytes | memoryview, blob: bytes | None) -> bool:
        """Take a part."""
        self._credit -= 1
        try:
            if self._error is None:  # else the reader would miss one in between
                self._sink.add(as_part(self._decode(body, blob)))
        except (Exception, asyncio.CancelledError) as exc:
            self._error = exc
        self.refill()
        return self._credit > 0 or self._is_closed

    @property
    def _is_closed(self) -> bool:
        return self._sink.is_left or self._error is not None

    def refill(self) -> None:
        """Let the handler go on if the sink has room for more parts, or close it if nobody reads them."""
        if self._is_closed:
            self.of.jobs.go_on(self, 0)
            return
        free = self._sink.room - self._credit
        if free >= REFILL:
            self._credit += free
            self.of.jobs.go_on(self, free)

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        """Take the outcome of the handler, which may be an exception."""
        if self._error is None:
            super().succeeded(body, blob or None, elapsed)  # an empty blob only shows the way that the reply took
        else:
            self.failed(self._error, elapsed)
