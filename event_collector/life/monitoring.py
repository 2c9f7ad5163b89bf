"""What a queue with a monitor has beside: its socket, and the inspector that makes the details."""

from typing import TYPE_CHECKING, Any

from event_collector.inspection.inspector import Inspector
from event_collector.inspection.queue_parts import QueueParts
from event_collector.life.scaling import most_workers
from event_collector.watching.details import QueueState
from event_collector.watching.monitor import as_monitor
from event_collector.watching.monitor_socket import MonitorSocket

if TYPE_CHECKING:
    from event_collector.life.engine import Engine
    from event_collector.life.settings import Settings
    from event_collector.watching.observer import Observer


def make_monitor_socket(monitor: Any, engine: "Engine", observer: "Observer", log: Any) -> MonitorSocket:
    """Return the socket of a queue; see MonitorSocket."""
    shows_payloads = as_monitor(monitor).payloads
    inspector = Inspector(engine, _about(engine.settings, engine.parts()), shows_payloads=shows_payloads)
    return MonitorSocket(monitor, observer.look, engine.worker_stacks, log, inspector)


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
