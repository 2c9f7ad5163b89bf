"""Chunks of lines: lines of JSON go to a worker as they are, and lines to write come back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from event_collector.remote.codec import encode_payload
from event_collector.remote.line_items import encode_lines
from event_collector.values.payload import Payload
from event_collector.values.results import Error, Result

if TYPE_CHECKING:
    from event_collector.tiers.workers.event_jobs import CollectorTask

ReadLine: TypeAlias = Callable[[int, bytes], Payload[Any]]
"""Returns the payload of the line with this number, or raises ValueError or TypeError."""


class LineResults:
    """The results of lines whose handlers succeeded, as the lines to write: `data`."""

    __slots__ = ("_count", "data")

    def __init__(self, data: bytes, count: int) -> None:
        self.data, self._count = data, count

    def __len__(self) -> int:
        """Return the number of results."""
        return self._count


class LineCodec:
    """The codec of lines. The place of a line in its stream is its number, less 1."""

    def __init__(self, task: "CollectorTask", read_line: ReadLine) -> None:
        self._task, self._read_line = task, read_line

    def encode(self, values: list[bytes], *, index: int, first_id: int, priority: float | None) -> bytes:
        """Encode lines."""
        return encode_lines(values, first_id, index + 1)

    def payload(self, value: bytes, index: int, priority: float | None) -> Payload[Any]:
        """Return the payload of one line; raises what `read_line` does."""
        return self._read_line(index + 1, value)

    def error(self, error: BaseException, value: bytes, index: int, priority: float | None) -> Result[Any]:
        """Return the Error of one line: that of its event, or the reason why it has none."""
        task = self._task
        try:
            payload = self._read_line(index + 1, value)
        except (ValueError, TypeError) as exc:
            return Error(exc, key=task.key)
        try:
            encode_payload(payload, task.collector, fidelity=task.fidelity)
        except Exception as exc:  # the worker has failed at this, too
            error = exc
        return task.failed(error, payload)

    def all(self, outcomes: bytes, count: int, known: int) -> LineResults:
        """Return the results."""
        return LineResults(outcomes.split(b"\n", known)[known] if known else outcomes, count - known)

    def each(self, outcomes: bytes, count: int) -> list[Result[Any] | BaseException]:
        """Raise: a line is written by its worker, if its result has the type."""
        raise NotImplementedError
