"""What a dispatcher knows: the lines of events, the counts, the sizes; and the figures that come of them."""

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.events.backlog import make_backlog
from event_collector.events.capacity import WAIT, Capacity, Turnstile
from event_collector.events.event import CollectorEvent, QueueType
from event_collector.handlers.collector import Collector
from event_collector.life.settings import Limits
from event_collector.watching.metrics import Accounting, Meter

if TYPE_CHECKING:
    import asyncio
    from collections import deque

    from event_collector.dispatch.supervisor import Supervisor
    from event_collector.events.recorder import Recorder
    from event_collector.events.start_reminder import StartReminder
    from event_collector.handlers.delivery import DeliveryPlan
    from event_collector.tiers.coroutines.consumer_pool import ConsumerPool
    from event_collector.values.refusals import QueueShutDown

__all__ = ["ALWAYS", "DispatcherState", "JobTier", "nothing"]

ALWAYS = ("something",)
"""What stands ahead of each event where none may begin within `send()` without further thought."""


class JobTier(Protocol):
    """The worker processes, as the dispatcher sees them."""

    @property
    def room(self) -> int:
        """How many more events the workers can take now."""

    @property
    def is_idle(self) -> bool:
        """Whether a worker has nothing to do, and would begin with an event at once."""

    def submit(self, batch: list[tuple[CollectorEvent, Collector]]) -> None:
        """Have workers process events, in this order; their results reach the dispatcher, perhaps within this call."""

    def cancel(self, event: CollectorEvent) -> bool:
        """Withdraw a submitted event, or kill its worker; its results follow. False if it has just ended."""


class DispatcherState:
    """The part of a dispatcher that holds what all others read and write, in the thread of the event loop.

    Args:
        queue_type: the order in which queued events are taken.
        default_priority: of payloads without a priority, in a PRIORITY queue.
        max_queue_size: how many events may wait; 0 for no bound.
        overflow: what happens when they are as many, "wait", "drop_oldest" or "drop_newest".
        limits: of the number of consumers.
        meter: keeps the times of finished events.

    """

    # More than 30 attributes: without slots Python would look each up in a plain dict.
    __slots__ = (
        "_ahead",
        "_backlog",
        "_capacity",
        "_default_priority",
        "_in_order",
        "_joiners",
        "_loop",
        "_newest_first",
        "_on_activity",
        "_overflow",
        "_pump_due",
        "_push",
        "_refusal",
        "_remote_backlog",
        "_service_times",
        "_slice_ends",
        "_supervised",
        "_tier",
        "_turnstile",
        "_wait_times",
        "accepted",
        "busy",
        "ceiling",
        "consumers",
        "crowded",
        "direct",
        "dropped",
        "finished",
        "idle",
        "limits",
        "peak",
        "plan",
        "recorder",
        "reminder",
        "route",
        "service_total",
        "size",
        "supervisor",
        "waits",
    )

    consumers: "ConsumerPool"
    plan: "DeliveryPlan"
    route: Callable[..., Any]
    supervisor: "Supervisor"

    def __init__(
        self,
        *,
        queue_type: QueueType,
        default_priority: float,
        max_queue_size: int,
        overflow: str,
        limits: Limits,
        meter: Meter,
    ) -> None:
        self._in_order = queue_type is QueueType.FIFO
        self._newest_first = queue_type is QueueType.LIFO
        self._default_priority = default_priority if queue_type is QueueType.PRIORITY else None
        self._service_times, self._wait_times = meter.service_times, meter.wait_times
        self._on_activity: Callable[[], None] = nothing
        self.reminder: StartReminder | None = None
        """Told of whoever waits before the start; None after it."""
        self._capacity = Capacity(max_queue_size) if max_queue_size > 0 else None
        self._turnstile = Turnstile()
        # Events for worker processes have a line of their own: they wait for room there, the others need not.
        self._backlog, self._remote_backlog = make_backlog(queue_type), make_backlog(queue_type)
        self._overflow = overflow
        self._push = self._backlog.push
        self._ahead: Sized = ALWAYS
        self._supervised: Supervisor | None = None  # the same, while events that leave handlers concern it
        self.recorder: Recorder | None = None
        self._joiners: dict[asyncio.Future[None], None] = {}
        self._refusal: QueueShutDown | None = None
        self.limits = limits
        self.size = limits.min_consumers if limits.autoscale else limits.max_consumers
        """How many events may be in handlers now."""
        self.ceiling = limits.max_consumers
        """How far the pool may grow at a burst by itself; written by the autoscaler."""
        self.accepted = 0
        self.finished = 0
        """Events that have their results, dead ones included."""
        self.dropped = 0
        self.busy = 0
        self.peak = 0
        """Most events in handlers since the monitor last looked, if the pool had to grow for them."""
        self.service_total = 0.0
        """Seconds that all finished events spent in handlers."""
        self.waits: dict[str | None, deque[float]] | None = None
        """The last events' times from sending to the end, by collector, where there are several."""
        self.idle = True
        """Whether whoever watches the queue rests, to be woken by the next event; the watcher calls `rest()`."""
        self.crowded = self._capacity is not None
        """Whether a sender must wait: a bounded queue always has to be asked, others when a slice is used up."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.direct: Collector | None = None
        self._tier: JobTier | None = None
        self._slice_ends = 0.0
        self._pump_due = False

    # Figures

    @property
    def refusing(self) -> bool:
        """Whether the end has begun."""
        return self._refusal is not None

    @property
    def is_bounded(self) -> bool:
        """Whether a place has to be claimed for each event."""
        return self._capacity is not None

    @property
    def has_room(self) -> bool:
        """Whether a sender need not wait for a place."""
        return self._capacity is None or self._overflow != WAIT or self._capacity.is_free

    @property
    def qsize(self) -> int:
        """How many events wait."""
        here, there = self._backlog, self._remote_backlog
        return len(here) + len(there) - len(here.gaps) - len(there.gaps)

    @property
    def remote_queued(self) -> int:
        """How many events wait for a worker process."""
        return len(self._remote_backlog) - len(self._remote_backlog.gaps)

    @property
    def active(self) -> int:
        """How many events are queued or in handlers."""
        return self.accepted - self.finished - self.supervisor.scheduled

    @property
    def attempts(self) -> int:
        """How many attempts have ended, of events that are finished or wait for another one."""
        return self.finished + self.supervisor.returned

    @property
    def unfinished(self) -> int:
        """How many accepted events have no result yet."""
        return self.accepted - self.finished

    def accounting(self) -> Accounting:
        """Return where all events are."""
        letters, scheduled = self.supervisor.letters, self.supervisor.scheduled
        accepted, finished = self.accepted + letters.restored, self.finished + letters.restored
        return Accounting(
            accepted, finished - letters.events, self.busy, self.qsize, scheduled, letters.events
        )

    def _release_room(self) -> None:
        if self._capacity is not None:
            self._capacity.release()


def nothing() -> None:
    """Nobody watches a queue that does not run."""
