"""structlog records of handlers in worker processes: emitted through the configuration of the program."""

import logging
from typing import Any

import structlog

from event_collector.life.logger import GuardedLog
from event_collector.remote.structlog_forwarding import decode_structured
from event_collector_workers.environment import DEFAULT_GROUP
from event_collector_workers.transport.records import BY_LOGGER


class StructlogEmission:
    """Emits the records with the program's processors, filters and loggers, as if they had been made here."""

    def level(self) -> int:
        """Return the lowest level that the configuration of this moment does not drop."""
        config = structlog.get_config()
        if isinstance(config["logger_factory"], structlog.stdlib.LoggerFactory):
            return BY_LOGGER
        try:
            level: Any = structlog.get_logger().get_effective_level()
        except Exception:  # a wrapper class without levels
            return logging.NOTSET
        return level if isinstance(level, int) else logging.NOTSET

    def emit(self, group: str, worker: int, pid: int, body: bytes) -> None:
        """Emit an encoded record of the worker with this number in its group."""
        line = decode_structured(body)
        has_names = isinstance(structlog.get_config()["logger_factory"], structlog.stdlib.LoggerFactory)
        names = [line.name] if line.is_named or has_names else []
        about = {} if group == DEFAULT_GROUP else {"worker_group": group}
        fields = {"worker": worker, "worker_pid": pid, **about, **line.fields}
        # Not `exception`, which would look for one here.
        method = "error" if line.method == "exception" else line.method
        log = structlog.get_logger(*names)
        event = fields.pop("event", "")
        getattr(GuardedLog(log), method if hasattr(log, method) else "info")(event, **fields)
