"""What a queue makes for those who watch it closely: the inspector that makes its details."""

from typing import TYPE_CHECKING

from event_collector.inspection.inspector import Inspector
from event_collector.inspection.queue_parts import QueueParts
from event_collector.life.scaling import most_workers
from event_collector.watching.details import QueueState

if TYPE_CHECKING:
    from event_collector.life.engine import Engine
    from event_collector.life.settings import Settings


def make_inspector(engine: "Engine", *, shows_payloads: bool = False) -> Inspector:
    """Return what makes the details of a queue."""
    return Inspector(engine, _about(engine.regulation.settings, engine.parts()), shows_payloads=shows_payloads)


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
