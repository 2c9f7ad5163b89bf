"""Emission: what workers have logged becomes records of the program."""

import builtins
import logging
import warnings
from collections import Counter
from contextvars import Context
from time import monotonic
from typing import Any, Final

import msgspec

from event_collector_workers.environment import DEFAULT_GROUP
from event_collector_workers.pool.listener import PoolListener, tell
from event_collector_workers.transport.outlet import Output
from event_collector_workers.transport.records import LogLevels, LogLine, decode_log, decode_warning

_LOGGER: Final = "event_collector.worker"
"""A logger that is made when it is used: `logging.config` disables those that exist before."""
_EVERY: Final = 60.0  # seconds between two reports of dropped records of one worker
_SHOWN: Final = 10_000  # different warnings that are known as shown, at most


def program_levels(structured: int = 0) -> LogLevels:
    """Return the levels of the program's loggers at this moment."""
    named = logging.root.manager.loggerDict.items()
    levels = {name: each.level for name, each in named if isinstance(each, logging.Logger) and each.level}
    return LogLevels({"": logging.root.level, **levels}, logging.root.manager.disable, structured)


class Emission:
    """Emits the records of the workers of one pool, in the thread of its loop.

    Handlers and filters of the program run in an empty context: they must not see the context variables of the code
    that happened to start a worker.
    """

    def __init__(self, listener: PoolListener, group: str = DEFAULT_GROUP) -> None:
        self._listener, self._group = listener, group
        self._shown: dict[Any, Any] = {}  # the warnings that were shown, as `warnings` keeps them for each module
        self._dropped: Counter[int] = Counter()  # by number of the worker, since its last report
        self._reported_at: dict[int, float] = {}
        self._levels: LogLevels | None = None  # as all workers know them

    def __repr__(self) -> str:
        return f"<Emission dropped={self._dropped.total()}>"

    def levels(self) -> LogLevels:
        """Return the levels of the program's loggers at this moment, for a worker that starts."""
        now = program_levels(self._listener.structured_level())
        self._levels = self._levels or now
        return now

    def changed_levels(self) -> LogLevels | None:
        """Return the levels of this moment, for all workers; None if all know them."""
        before, self._levels = self._levels, program_levels(self._listener.structured_level())
        return None if self._levels == before else self._levels

    def emit(self, worker: int, pid: int, kind: int, body: bytes) -> None:
        """Emit a record. What it raises is reported to the loop."""
        Context().run(tell, self._emit, worker, pid, kind, body)

    def forget(self, worker: int) -> None:
        """Report what is left of a worker that has ended."""
        self._reported_at.pop(worker, None)
        if self._dropped[worker]:
            Context().run(tell, self._report_dropped, worker)
        del self._dropped[worker]

    def _emit(self, worker: int, pid: int, kind: int, body: bytes) -> None:
        try:
            if kind == Output.LOG:
                _log(self._group, worker, pid, decode_log(body))
            elif kind == Output.WARNING:
                self._warn(body)
            elif kind == Output.STRUCTURED:
                self._listener.structured(worker, pid, body)
            else:
                self._note_dropped(worker, int(body))
        except (msgspec.MsgspecError, ValueError) as error:
            extra = {"worker": worker, "worker_group": self._group}
            logging.getLogger(_LOGGER).warning("a record of worker %d cannot be read: %s", worker, error, extra=extra)

    def _warn(self, body: bytes) -> None:
        line = decode_warning(body)
        category: Any = getattr(builtins, line.category, None)
        if not (isinstance(category, type) and issubclass(category, Warning)):
            category = type(line.category, (UserWarning,), {})  # its class need not exist here
        if len(self._shown) > _SHOWN:
            self._shown.clear()
        try:
            warnings.warn_explicit(line.text, category, line.path, line.line, registry=self._shown)
        except Warning as warning:  # the filters turn it into an error, which comes too late for the handler
            warnings.showwarning(warning, category, line.path, line.line)

    def _note_dropped(self, worker: int, count: int) -> None:
        self._dropped[worker] += count
        if monotonic() - self._reported_at.get(worker, -_EVERY) >= _EVERY:
            self._report_dropped(worker)

    def _report_dropped(self, worker: int) -> None:
        count, self._dropped[worker] = self._dropped[worker], 0
        self._reported_at[worker] = monotonic()
        text = "%d records and lines of worker %d were dropped: the event loop did not read them in time"
        logging.getLogger(_LOGGER).warning(text, count, worker, extra={"worker": worker, "worker_group": self._group})


def _log(group: str, worker: int, pid: int, line: LogLine) -> None:
    logger = logging.getLogger(line.name)
    if not logger.isEnabledFor(line.level):
        return
    fields = {
        "name": line.name,
        "levelno": line.level,
        "levelname": line.level_name,
        "msg": line.message,
        "args": None,
        "created": line.created,
        "msecs": int(line.created % 1 * 1000) + 0.0,
        "pathname": line.path,
        "filename": line.path.rpartition("/")[2],
        "module": line.path.rpartition("/")[2].removesuffix(".py"),
        "lineno": line.line,
        "funcName": line.function,
        "thread": line.thread,
        "threadName": line.thread_name,
        "process": pid,
        "processName": line.process_name,
        "taskName": line.task_name,
        "exc_text": line.trace,
        "stack_info": line.stack,
    }
    logger.handle(logging.makeLogRecord({"worker": worker, "worker_group": group, **line.extra, **fields}))
