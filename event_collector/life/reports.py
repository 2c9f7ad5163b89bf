"""Reports: log lines with the metrics, and messages on the bus that are sent in the background."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from event_collector.events.dead_letters import DeadLetter
from event_collector.messagebus import Message
from event_collector.watching.metrics import Metrics

REPORT: Final = "collector queue metrics"
"""The text of the log line with the metrics."""

CANCEL_GRACE: Final = 1.0
"""Seconds in which cancelled tasks have to end."""


@dataclass
class DeadLettered(Message):
    """An event has failed for good in a collector with `retry=`. The letter is in `queue.dead_letters`."""

    letter: DeadLetter


@dataclass
class ReportedMetrics(Message):
    """The metrics, sent every `report_interval` seconds."""

    metrics: Metrics


class Reports:
    """Logs the metrics every `interval` seconds and awaits `on_report` with them, and sends messages.

    There are no reports if `interval` is 0 or less.
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
        """Start the timer. The first report comes after one interval."""
        if self._interval > 0:
            self._timer = loop.call_later(self._interval, self._fire, loop)

    def stop(self) -> None:
        """Stop the timer. Messages in flight continue."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send a message in a new task. `finish()` waits for it."""
        task = asyncio.Task(sending, name="queue report")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, timeout: float | None) -> None:
        """Wait until all messages are sent. After `timeout` seconds they are cancelled."""
        for limit in (timeout, CANCEL_GRACE):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=limit)
            for task in self._tasks:
                task.cancel()

    def __contains__(self, task: object) -> bool:
        """Return whether a task sends a message."""
        return task in self._tasks

    def __repr__(self) -> str:
        state = "stopped" if self._timer is None else f"every {self._interval} s"
        return f"<Reports {state}, {len(self._tasks)} messages in flight>"

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self.start(loop)
        metrics = self._metrics()
        fields = {name: getattr(metrics, name) for name in metrics.__dataclass_fields__}
        timestamp = fields.pop("timestamp").isoformat()
        fields["changes"] = [str(change) for change in metrics.changes]
        self._log.info(REPORT, metrics_timestamp=timestamp, **fields)
        self.send(self._on_report(metrics))
