"""Newline-delimited JSON: splits bytes into lines, decodes lines, and encodes results as lines."""

import contextlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from event_collector.encoding.coding import PLAIN_CODING
from event_collector.values.errors import EncodeError
from event_collector.values.json_values import BOM, JsonDecoder, encode_json
from event_collector.values.results import Error, Result, ResultList
from event_collector_workers.error_texts import text_of


class LineTooLong(ValueError):
    """A line of input exceeds the allowed length; its content was not kept."""


class InputLine(NamedTuple):
    """One line of input."""

    number: int  # position in the input; the first line has number 1
    data: bytes | None  # the line without its newline; None if it is too long
    size: int  # bytes of input, the newline included


class LineBlock(NamedTuple):
    """Consecutive lines of input that are not empty, perhaps none."""

    number: int  # of the first one
    lines: list[bytes]


class LineSplitter:
    """Splits a stream of bytes into numbered lines. It keeps at most `max_bytes` bytes of a line."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._number = 0
        self._begun = bytearray()
        self._begun_size = 0

    def feed(self, chunk: bytes) -> Iterator[InputLine]:
        """Yield the lines that end in this chunk."""
        *ended, begun = chunk.split(b"\n")
        for part in ended:
            self._extend(part)
            yield self._end(newline=1)
        self._extend(begun)

    def blocks(self, chunk: bytes) -> Iterator["InputLine | LineBlock"]:
        """Yield the lines that end in this chunk: blocks of those that have content, and the others one by one."""
        *ended, begun = chunk.split(b"\n")
        if ended:
            self._extend(ended.pop(0))
            yield self._end(newline=1)
            if len(chunk) <= self._max_bytes and all(map(bytes.strip, ended)):
                yield self._block(ended)
            else:
                for has_content, lines in groupby(ended, self._has_content):
                    if has_content:
                        yield self._block(list(lines))
                    else:
                        yield from map(self._end_whole, lines)
        self._extend(begun)

    def _has_content(self, line: bytes) -> bool:
        return len(line) <= self._max_bytes and bool(line.strip())

    def _block(self, lines: list[bytes]) -> "LineBlock":
        first = self._number + 1
        self._number += len(lines)
        return LineBlock(first, lines)

    def _end_whole(self, line: bytes) -> InputLine:
        self._extend(line)
        return self._end(newline=1)

    def finish(self) -> Iterator[InputLine]:
        """Yield the last line, if the input does not end with a newline."""
        if self._begun_size:
            yield self._end(newline=0)

    def _extend(self, part: bytes) -> None:
        self._begun_size += len(part)
        if self._begun_size <= self._max_bytes:
            self._begun += part
        else:
            self._begun.clear()

    def _end(self, newline: int) -> InputLine:
        self._number += 1
        data = bytes(self._begun) if self._begun_size <= self._max_bytes else None
        if data is not None and self._number == 1:
            data = data.removeprefix(BOM)  # an input of nothing else is empty
        line = InputLine(self._number, data, self._begun_size + newline)
        self._begun.clear()
        self._begun_size = 0
        return line


class LineDecoder:
    """Decodes lines into values of `line_type`, Any included; `max_bytes` is the limit of the splitter, for errors.

    The constructor raises UnknownType if msgspec cannot decode into the type.
    """

    def __init__(self, line_type: Any, max_bytes: int) -> None:
        self._decode = JsonDecoder(line_type, "line", PLAIN_CODING.convert)
        self._max_bytes = max_bytes

    def __call__(self, line: InputLine) -> Any:
        """Return the value; raises LineTooLong, InvalidJSON or PayloadTypeError, whose message says where."""
        if line.data is None:
            raise LineTooLong(f"line {line.number} is longer than {self._max_bytes} bytes")
        return self._decode(line.data, line.number)


class LineEncoder:
    """Encodes results as lines: lists of results if the queue has `several` collectors.

    With `tracebacks`, error objects include the traceback of their exception.
    """

    def __init__(self, *, several: bool, tracebacks: bool) -> None:
        self._several, self._tracebacks = several, tracebacks
        self._encode = msgspec.json.Encoder().encode

    def results(self, number: int | str | None, results: ResultList, *, replayed: bool = False) -> tuple[bytes, bool]:
        """Return the line of an event, and whether any of its results is an error.

        `number` is the number of the line of input, or the id of the message; None if the event has neither.
        """
        head = self._head(number, replayed=replayed)
        outcomes = [self._outcome(result) for result in results]
        failed = any(failed for _, failed in outcomes)
        if len(outcomes) == 1 and not self._several:
            return b"%b,%b}\n" % (head, outcomes[0][0]), failed
        members = (
            b'{"collector":%b,%b}' % (self._encode(result.key), outcome)
            for result, (outcome, _) in zip(results, outcomes, strict=True)
        )
        return b'%b,"results":[%b]}\n' % (head, b",".join(members)), failed

    def error(self, number: int | str | None, exc: Exception, *, replayed: bool = False) -> bytes:
        """Return the line of an input that never became an event."""
        return b"%b,%b}\n" % (self._head(number, replayed=replayed), self._error(Error(exc)))

    def _head(self, number: int | str | None, *, replayed: bool) -> bytes:
        return b'{"id":%b%b' % (self._encode(number), b',"replayed":true' if replayed else b"")

    def _outcome(self, result: Result[Any]) -> tuple[bytes, bool]:
        if isinstance(result, Error):
            return self._error(result), True
        try:
            return b'"ok":' + encode_json(result.value), False
        except Exception as exc:
            kind = type(result.value).__name__
            refusal = EncodeError(f"the result of type {kind} cannot be written as JSON: {exc}")
            return self._error(Error(refusal)), True

    def _error(self, error: Error[Any]) -> bytes:
        err = error.err
        is_exception = isinstance(err, BaseException)
        fields: dict[str, Any] = {"type": type(err).__name__ if is_exception else "Error", "message": text_of(err)}
        if not is_exception and not isinstance(err, str):
            with contextlib.suppress(Exception):  # JSON has no such value
                fields["value"] = msgspec.Raw(encode_json(err))
        if self._tracebacks and error.details and "trace" in error.details:
            fields["traceback"] = text_of(error.details["trace"])
        return b'"error":' + self._encode(fields)
