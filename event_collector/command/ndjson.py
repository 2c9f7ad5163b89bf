"""Newline-delimited JSON: lines out of chunks of bytes, values out of lines, results into lines."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from event_collector.values.errors import EncodeError
from event_collector.values.json_values import InvalidJSON, JsonDecoder, UnknownType
from event_collector.values.results import Error, Result, ResultList

__all__ = ["InvalidJSON", "Line", "LineDecoder", "LineEncoder", "LineSplitter", "LineTooLong", "UnknownType"]


class LineTooLong(ValueError):
    """A line of input is longer than allowed; its contents were not kept."""


class Line(NamedTuple):
    """One line of input."""

    number: int
    """Its number in the input, the first one being 1."""
    data: bytes | None
    """Its bytes without the newline; None when there were more than allowed."""
    size: int
    """How many bytes of input it took, its newline included."""


class LineSplitter:
    """Cuts a stream of bytes into lines and numbers them. Of a line, no more than `max_bytes` are kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._number = 0
        self._begun = bytearray()
        self._begun_size = 0

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that end in the next chunk."""
        first, *others = chunk.split(b"\n")
        self._extend(first)
        if not others:
            return
        yield self._end(newline=1)
        last = others.pop()
        for data in others:
            self._number += 1
            yield Line(self._number, data if len(data) <= self._max_bytes else None, len(data) + 1)
        self._extend(last)

    def finish(self) -> Iterator[Line]:
        """Yield the last line, if the input does not end with a newline."""
        if self._begun_size:
            yield self._end(newline=0)

    def _extend(self, part: bytes) -> None:
        self._begun_size += len(part)
        if self._begun_size <= self._max_bytes:
            self._begun += part
        else:
            self._begun.clear()

    def _end(self, newline: int) -> Line:
        self._number += 1
        data = bytes(self._begun) if self._begun_size <= self._max_bytes else None
        line = Line(self._number, data, self._begun_size + newline)
        self._begun.clear()
        self._begun_size = 0
        return line


class LineDecoder:
    """Makes values of lines.

    Args:
        line_type: what every line must be: a type that msgspec knows, or Any.
        max_bytes: the length that too long lines exceeded, for their error.

    Raises:
        UnknownType: msgspec cannot decode into the type.

    """

    def __init__(self, line_type: Any, max_bytes: int) -> None:
        self._decode = JsonDecoder(line_type, "line")
        self._max_bytes = max_bytes

    def __call__(self, line: Line) -> Any:
        """Return the value.

        Raises:
            LineTooLong, InvalidJSON, PayloadTypeError: there is none; the message says where in the line.

        """
        if line.data is None:
            raise LineTooLong(f"line {line.number} is longer than {self._max_bytes} bytes")
        return self._decode(line.data, line.number)


class LineEncoder:
    """Makes lines of results.

    Args:
        several: whether the queue has several collectors, so that results stand in a list.
        tracebacks: whether error objects hold the traceback of their exception.

    """

    def __init__(self, *, several: bool, tracebacks: bool) -> None:
        self._several = several
        self._tracebacks = tracebacks
        self._encode = msgspec.json.Encoder().encode

    def results(
        self, number: int | str | None, results: ResultList, *, replayed: bool = False
    ) -> tuple[bytes, bool]:
        """Return the line of an event, and whether it failed: whether any of its results is an error.

        Args:
            number: of the line of input, or what a message is known by; None if there was none.
            results: what became of it.
            replayed: whether that was the input of an earlier run.

        """
        head = b'{"id":%b%b' % (self._encode(number), b',"replayed":true' if replayed else b"")
        outcomes = [self._outcome(result) for result in results]
        failed = any(failed for _, failed in outcomes)
        if len(outcomes) == 1 and not self._several:
            return b"%b,%b}\n" % (head, outcomes[0][0]), failed
        members = (
            b'{"collector":%b,%b}' % (self._encode(result.key), outcome)
            for result, (outcome, _) in zip(results, outcomes, strict=True)
        )
        return b'%b,"results":[%b]}\n' % (head, b",".join(members)), failed

    def error(self, number: int | str | None, exc: Exception) -> bytes:
        """Return the line of a line of input, or a message, that never became an event."""
        return b'{"id":%b,%b}\n' % (self._encode(number), self._error(Error(exc)))

    def _outcome(self, result: Result[Any]) -> tuple[bytes, bool]:
        if isinstance(result, Error):
            return self._error(result), True
        try:
            return b'"ok":' + self._encode(result.value), False
        except Exception as exc:
            kind = type(result.value).__name__
            refusal = EncodeError(f"the result of type {kind} cannot be written as JSON: {exc}")
            return self._error(Error(refusal)), True

    def _error(self, error: Error[Any]) -> bytes:
        err, fields = error.err, {}
        if isinstance(err, BaseException):
            fields = {"type": type(err).__name__, "message": _text(err)}
        else:
            fields = {"type": "Error", "message": _text(err)}
            if not isinstance(err, str) and self._can_encode(err):
                fields["value"] = err
        if self._tracebacks and error.details and "trace" in error.details:
            fields["traceback"] = _text(error.details["trace"])
        return b'"error":' + self._encode(fields)

    def _can_encode(self, value: Any) -> bool:
        try:
            self._encode(value)
        except Exception:
            return False
        return True


def _text(value: Any) -> str:
    try:
        text = str(value)
    except Exception:  # a broken __str__ must not cost the event its line
        return "(its text could not be made)"
    return text.encode(errors="backslashreplace").decode()
