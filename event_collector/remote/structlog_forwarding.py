"""structlog in a worker: its records go to the program, whose configuration decides what becomes of them.

This is imported when, and only if, the worker has imported structlog.
"""

import logging
import sys
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from event_collector.handlers.running_event import event_context
from event_collector_workers.child.forwarding import Forwarding
from event_collector_workers.error_texts import encodable, exception_text
from event_collector_workers.transport.outlet import Output
from event_collector_workers.transport.records import BY_LOGGER, LogLevels, encode_line, plain_fields

_LEVELS: Final = {"msg": logging.INFO, "warn": logging.WARNING, "exception": logging.ERROR, "fatal": logging.CRITICAL}
_add_stack: Final = structlog.processors.StackInfoRenderer()


class StructuredLine(msgspec.Struct, array_like=True):
    """A record of structlog, before any processor of the program has seen it."""

    name: str
    """The name of the logger; the module that logs if it was made without one."""
    is_named: bool
    """Whether the logger was made with that name."""
    method: str
    fields: dict[str, Any]


decode_structured: Final = msgspec.msgpack.Decoder(StructuredLine).decode


class StructlogForwarding:
    """Has the records of structlog sent, instead of what was configured at import.

    A configuration that a lifecycle or a handler makes later is the worker's own, and stays.
    """

    def __init__(self, forwarding: Forwarding) -> None:
        self._outlet, self._level = forwarding.outlet, forwarding.levels.structured
        self._own: Any = None

    def __repr__(self) -> str:
        return f"<StructlogForwarding {'off' if self._own is not None else 'on'}>"

    def note_own(self) -> None:
        """Note that the configuration of this moment was not made at import."""
        processors = structlog.get_config()["processors"]
        self._own = None if self._is_ours(processors) else processors

    def adopt(self) -> None:
        """Replace a configuration that was made at import, or none."""
        config = structlog.get_config()
        if self._is_ours(config["processors"]) or config["processors"] is self._own:
            return
        wrapper, factory = config["wrapper_class"], config["logger_factory"]
        if hasattr(wrapper, "get_effective_level"):  # it drops what is below a level: the one of the program counts
            wrapper = structlog.make_filtering_bound_logger(max(0, self._level))
        if not isinstance(factory, structlog.stdlib.LoggerFactory):
            factory = partial(_Named, factory)
        structlog.configure(processors=[self._forward], wrapper_class=wrapper, logger_factory=factory)

    def take_levels(self, levels: LogLevels) -> None:
        """Send what the program does not drop now."""
        self._level = levels.structured
        config = structlog.get_config()
        if self._is_ours(config["processors"]) and hasattr(config["wrapper_class"], "get_effective_level"):
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(max(0, self._level)))

    def _is_ours(self, processors: Any) -> bool:
        return bool(processors) and getattr(processors[0], "__self__", None) is self

    def _forward(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        """Send a record; the only processor of the worker."""
        is_named = getattr(logger, "is_named", True)
        name = logger.name if isinstance(logger, (_Named, logging.Logger)) else _calling_module()
        if self._level == BY_LOGGER or isinstance(logger, logging.Logger):
            level = _LEVELS.get(method) or logging.getLevelNamesMapping().get(method.upper(), logging.INFO)
            if not logging.getLogger(name).isEnabledFor(level):
                raise structlog.DropEvent
        fields = plain_fields(_completed(logger, method, event))
        line = StructuredLine(encodable(name), is_named, method, fields)
        self._outlet.send(Output.STRUCTURED, encode_line(line))
        raise structlog.DropEvent


class _Named:
    """What bound loggers wrap: it has the name that `structlog.get_logger(name)` was called with.

    It is the logger that `factory` makes for a later configuration that sets processors and no factory.
    """

    def __init__(self, factory: Callable[..., Any], *args: Any) -> None:
        self._factory, self._args = factory, args
        self.is_named = bool(args) and isinstance(args[0], str)
        self.name = args[0] if self.is_named else _calling_module()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory(*self._args), name)


def _completed(logger: Any, method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record with what only this process knows: context variables, event, texts of errors."""
    fields = dict(structlog.contextvars.merge_contextvars(logger, method, event))
    arguments = fields.pop("positional_args", None)
    if arguments:
        is_mapping = len(arguments) == 1 and isinstance(arguments[0], dict)
        fields["event"] = str(fields.get("event")) % (arguments[0] if is_mapping else tuple(arguments))
    error = _error_of(fields.pop("exc_info", None), method)
    if error is not None:
        fields["exception"] = exception_text(error).rstrip("\n")
    fields = dict(_add_stack(logger, method, fields))
    return {**event_context(), **fields}


def _error_of(given: Any, method: str) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple) and len(given) == 3:
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exc_info()[1] if given or method == "exception" else None


def _calling_module() -> str:
    """Return the name of the module whose code has called structlog."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", "?"))
        if name != __name__ and name.partition(".")[0] != "structlog":
            return name
        frame = frame.f_back
    return "?"
