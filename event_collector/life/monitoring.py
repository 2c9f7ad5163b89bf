"""What a queue with a monitor has beside: the inspector that makes its details."""

from typing import TYPE_CHECKING

from event_collector.inspection.inspector import Inspector
from event_collector.inspection.queue_parts import QueueParts
from event_collector.life.scaling import most_workers
from event_collector.watching.details import QueueState
from event_collector.watching.monitor import Monitor

if TYPE_CHECKING:
    from event_collector.life.engine import Engine
    from event_collector.life.settings import Settings


def make_inspector(monitor: Monitor, engine: "Engine") -> Inspector:
    """Return what makes the details of a queue for its monitor."""
    return Inspector(engine, _about(engine.regulation.settings, engine.parts()), shows_payloads=monitor.payloads)


def _about(settings: "Settings", parts: QueueParts) -> QueueState:
    has_workers = any(one.remote_usage is not None for one in parts.collectors.values())
    return QueueState(
        queue_type=settings.queue_type.name,
        max_queue_size=settings.max_queue_size,
        overflow=settings.overflow,
        max_consumers=settings.max_consumers,
        max_workers=most_workers(settings) if has_workers else 0,
        autoscale=settings.autoscale,
    )
