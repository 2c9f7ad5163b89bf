"""The shared data of a collector: pickled once by the program, its large buffers in memory that all workers read."""

import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector_workers.error_texts import text_of

if TYPE_CHECKING:
    from event_collector.handlers.collector import Collector


def pack_shared(collector: "Collector") -> list[memoryview]:
    """Return the shared data of a collector as buffers, uncopied where they are large. Raises ConfigError."""
    buffers: list[pickle.PickleBuffer] = []
    names = {}
    for name, value in collector.shared.items():
        raw = pickle.PickleBuffer(value) if type(value) is memoryview else value
        try:
            names[name] = pickle.dumps(raw, protocol=5, buffer_callback=buffers.append), len(buffers)
        except Exception as exc:
            raise ConfigError(
                f"collector {collector.key!r}: its shared value {name!r} cannot be pickled: {text_of(exc)}. Share the "
                f"arrays or bytes that it is made of, or open it in the collector's lifecycle"
            ) from exc
    if not names:
        return []
    return [memoryview(pickle.dumps(names)), *map(_view_of, buffers)]


def _view_of(buffer: pickle.PickleBuffer) -> memoryview:
    """Return the bytes of a buffer.

    They are never a view over a memoryview: if both are garbage in one cycle, Python 3.11 crashes when it clears the
    inner one first.
    """
    view = buffer.raw()
    inner: object = view.obj
    return inner.cast("B") if type(inner) is memoryview and inner.nbytes == view.nbytes else view


def add_shared(ctx: Context, views: Sequence[memoryview]) -> None:
    """Put shared data into the context, in a worker. Its arrays are read-only views of the memory of all workers."""
    if not views:
        return
    start = 0
    for name, (data, end) in pickle.loads(views[0]).items():  # noqa: S301 - written by pack_shared() in the program
        value: Any = pickle.loads(data, buffers=views[1 + start : 1 + end])  # noqa: S301
        ctx[name] = value
        start = end
