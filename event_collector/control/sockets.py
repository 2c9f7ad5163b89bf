"""The sockets of a queue, made from its `monitor=`."""

from typing import Any

from event_collector.control.queue_control import QueueControl
from event_collector.events.dead_letters import DeadLetters
from event_collector.life.engine import Engine
from event_collector.life.monitoring import make_inspector
from event_collector.watching.monitor import as_monitor
from event_collector.watching.monitor_socket import MonitorSocket
from event_collector.watching.observer import Observer


def make_sockets(
    given: Any, queue: str, engine: Engine, control: QueueControl, letters: DeadLetters, observer: Observer, log: Any
) -> MonitorSocket:
    """Return the sockets of a queue. Raise ConfigError if they cannot have this path."""
    monitor, beside = as_monitor(given), None
    if monitor.control:
        from event_collector.control.control_socket import ControlSocket
        from event_collector.control.control_verbs import ControlVerbs

        verbs = ControlVerbs(queue, engine, control, letters, shows_payloads=monitor.payloads, log=log)
        beside = ControlSocket(monitor.path, verbs.act, engine.worker_stacks)
    details = make_inspector(engine, shows_payloads=monitor.payloads)
    return MonitorSocket(monitor, observer.look, engine.worker_stacks, log, details, beside)
