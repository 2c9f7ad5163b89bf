"""Reports: log lines with the metrics, and messages of the queue that are sent beside everything else."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from event_collector.watching.metrics import Metrics

CANCEL_GRACE = 1.0
"""Seconds that cancelled reports get to end."""


class Reports:
    """Reports the metrics at an interval, and sends messages.

    Args:
        interval: seconds between two reports of the metrics; 0 or less for none.
        metrics: returns the metrics of this instant.
        on_report: awaited with each report.
        log: gets a line for each report.

    """

    def __init__(
        self,
        interval: float,
        metrics: Callable[[], Metrics],
        on_report: Callable[[Metrics], Coroutine[Any, Any, None]],
        log: Any,
    ) -> None:
        self._interval, self._metrics, self._on_report, self._log = interval, metrics, on_report, log
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Report for the first time after one interval."""
        if self._interval > 0:
            self._timer = loop.call_later(self._interval, self._fire, loop)

    def stop(self) -> None:
        """Report no more. Messages that are being sent go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send a message in a task of its own; `finish()` waits for it."""
        task = asyncio.Task(sending, name="queue report")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, timeout: float | None) -> None:
        """Wait until all messages are sent; after `timeout` seconds they are cancelled."""
        for limit in (timeout, CANCEL_GRACE):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=limit)
            for task in self._tasks:
                task.cancel()

    def __contains__(self, task: object) -> bool:
        """Return whether a task sends a message."""
        return task in self._tasks

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self.start(loop)
        metrics = self._metrics()
        fields = {name: getattr(metrics, name) for name in metrics.__dataclass_fields__}
        timestamp = fields.pop("timestamp").isoformat()
        fields["changes"] = [str(change) for change in metrics.changes]
        self._log.info("collector queue metrics", metrics_timestamp=timestamp, **fields)
        self.send(self._on_report(metrics))
