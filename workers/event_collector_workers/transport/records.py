"""What workers tell of their log records and warnings: data without objects, for msgpack."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from event_collector_workers.error_texts import encodable, line_of


class LogLine(msgspec.Struct, array_like=True):
    """A record of `logging`, formatted as far as it needs objects of the worker."""

    name: str
    level: int
    level_name: str
    message: str
    created: float
    path: str
    line: int
    function: str | None
    thread: int | None
    thread_name: str | None
    process_name: str | None
    task_name: str | None
    trace: str | None
    stack: str | None
    extra: dict[str, Any]
    """Fields of the running event, and what the caller passed as `extra`."""


class WarningLine(msgspec.Struct, array_like=True):
    """A warning that the filters of the worker have let through."""

    text: str
    category: str
    path: str
    line: int


class LogLevels(msgspec.Struct, array_like=True, frozen=True):
    """What the program does not drop, as of the start of a worker."""

    loggers: dict[str, int] = {}
    """The loggers that have a level of their own; the root logger is ''."""
    disabled: int = 0
    """As set by `logging.disable()`."""
    structured: int = 0
    """Lowest level of structured records; `BY_LOGGER` if the levels of the loggers decide."""


BY_LOGGER: Final = -1

encode_line: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder(enc_hook=line_of).encode
decode_log: Final = msgspec.msgpack.Decoder(LogLine).decode
decode_warning: Final = msgspec.msgpack.Decoder(WarningLine).decode


def plain_fields(fields: dict[Any, Any]) -> dict[str, Any]:
    """Return fields that can be encoded: values of other than simple types as the text of their `repr()`."""
    try:
        encode_line(fields)
    except Exception:  # too large an integer, a cycle, a lone surrogate
        return {encodable(str(name)): _plain(value) for name, value in fields.items()}
    return fields


def _plain(value: Any) -> Any:
    try:
        encode_line(value)
    except Exception:
        return encodable(line_of(value))
    return value
