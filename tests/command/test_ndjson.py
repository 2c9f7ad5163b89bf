"""Lines out of bytes, values out of lines, lines out of results."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector import Error, Ok, PayloadTypeError, ResultList
from event_collector.command.lines.ndjson import InputLine, LineDecoder, LineEncoder, LineSplitter, LineTooLong
from event_collector.values.json_values import InvalidJSON, UnknownType

TEXT = st.lists(st.sampled_from([b"", b"a", b"bcd", b"\n", b"\n\n", b"\r\n", b"0123456789"])).map(b"".join)


def split(chunks: list[bytes], max_bytes: int = 1000) -> list[InputLine]:
    splitter = LineSplitter(max_bytes)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.finish()]


def split_into_blocks(chunks: list[bytes], max_bytes: int) -> list[InputLine]:
    splitter = LineSplitter(max_bytes)
    lines: list[InputLine] = []
    for chunk in chunks:
        for block in splitter.blocks(chunk):
            if isinstance(block, InputLine):
                lines.append(block)
            else:
                assert all(map(bytes.strip, block.lines))
                lines += [
                    InputLine(number, line, len(line) + 1) for number, line in enumerate(block.lines, block.number)
                ]
    return [*lines, *splitter.finish()]


@settings(deadline=None)
@given(TEXT, st.lists(st.integers(0, 60)), st.integers(1, 12))
def test_lines_do_not_depend_on_how_the_input_is_cut_into_chunks(text: bytes, cuts: list[int], max_bytes: int) -> None:
    """Any chunks of one input give the lines that it has as a whole, too long ones without their contents."""
    borders = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    chunks = [text[start:end] for start, end in pairwise(borders)]
    whole = text.split(b"\n") if text else []
    if whole and not whole[-1]:
        whole.pop()
    lines = split(chunks, max_bytes)
    assert [line.number for line in lines] == list(range(1, len(whole) + 1))
    assert [line.data for line in lines] == [data if len(data) <= max_bytes else None for data in whole]
    assert sum(line.size for line in lines) == len(text)
    assert split_into_blocks(chunks, max_bytes) == lines


def test_too_long_line_is_not_kept() -> None:
    """However long a line without an end grows, the splitter holds no more than the bound of it."""
    splitter = LineSplitter(10)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 1000)) == []
    assert len(splitter._begun) <= 10
    assert list(splitter.feed(b"\nok\n")) == [InputLine(1, None, 1_000_001), InputLine(2, b"ok", 3)]


@dataclass
class Order:
    n: int


@pytest.mark.parametrize(
    ("line_type", "data", "error", "words"),
    [
        (Any, b"nope", InvalidJSON, "line 7 is not JSON"),
        (Any, b'{"a":', InvalidJSON, "truncated"),
        (Any, b'"\xff"', InvalidJSON, "line 7 is not JSON"),
        (Any, b"[" * 100_000, InvalidJSON, "line 7 is not JSON"),
        (Any, None, LineTooLong, "longer than 99 bytes"),
        (Order, b'{"n":"1"}', PayloadTypeError, r"\$\.n"),
        (Order, b"{}", PayloadTypeError, "required field `n`"),
        (Order, b"{", InvalidJSON, "line 7"),
    ],
)
def test_line_that_holds_no_payload_is_an_error_that_names_it(
    line_type: Any, data: bytes | None, error: type[Exception], words: str
) -> None:
    """The error says which line it is, what is wrong with it and where."""
    with pytest.raises(error, match=words):
        LineDecoder(line_type, 99)(InputLine(7, data, 100))


def test_line_becomes_the_type_that_is_asked_for() -> None:
    """A line is decoded straight into the payload type, whitespace around it ignored."""
    assert LineDecoder(Order, 99)(InputLine(1, b' {"n":1}\r', 10)) == Order(1)


def test_type_that_json_cannot_be_decoded_into_is_refused() -> None:
    """A payload type that msgspec does not know is refused before the first line."""
    with pytest.raises(UnknownType, match="ResultList"):
        LineDecoder(list[ResultList] | list[int], 99)


def encode(*results: Any, several: bool = False, tracebacks: bool = False) -> tuple[Any, bool]:
    line, failed = LineEncoder(several=several, tracebacks=tracebacks).results(3, ResultList(results))
    assert line.endswith(b"\n")
    return json.loads(line), failed


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Ok({"a": [1]}), {"ok": {"a": [1]}}),
        (Ok(None), {"ok": None}),
        (Error(ValueError("bad")), {"error": {"type": "ValueError", "message": "bad"}}),
        (Error("bad"), {"error": {"type": "Error", "message": "bad"}}),
        (Error({"code": 1}), {"error": {"type": "Error", "message": "{'code': 1}", "value": {"code": 1}}}),
        (Error(ValueError("\ud800")), {"error": {"type": "ValueError", "message": "\\ud800"}}),
        (Error(Mute()), {"error": {"type": "Mute", "message": "(its text could not be made)"}}),
    ],
)
def test_result_of_the_only_collector_stands_in_the_line_itself(result: Any, expected: Any) -> None:
    """One collector, one result: it is the line's "ok" or "error"."""
    assert encode(result) == ({"id": 3, **expected}, "error" in expected)


@pytest.mark.parametrize("value", [object(), {"deep": [object()]}, "\ud800", {object(): 1}])
def test_value_that_json_cannot_hold_is_an_error(value: Any) -> None:
    """What cannot be written as JSON fails its event alone, and the error names the type."""
    line, failed = encode(Ok(value))
    assert failed
    assert line["error"]["type"] == "EncodeError"
    assert type(value).__name__ in line["error"]["message"]


@dataclass
class Measurement:
    value: float
    note: str | None = None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "shape", [lambda n: n, lambda n: [[n]], lambda n: {"a": (1, n)}, Measurement, lambda n: [msgspec.Raw(b"null"), n]]
)
def test_number_that_json_does_not_have_is_an_error(number: float, shape: Callable[[float], Any]) -> None:
    """NaN and infinity never become null, however deep they are; Error keeps its text and loses such a value."""
    line, failed = encode(Ok(shape(number)))
    assert failed
    assert line["error"]["type"] == "EncodeError"
    assert "JSON has no NaN and no infinity" in line["error"]["message"]
    line, _ = encode(Error(shape(number)))
    assert "value" not in line["error"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), (Measurement(1.5), {"value": 1.5, "note": None}), ("null", "null"), ({1: None}, {"1": None}),
        (msgspec.Raw(b'{"a":null}'), {"a": None}), ([None, 2**70], [None, 2**70]),
    ],
)  # fmt: skip
def test_null_that_is_meant_is_written(value: Any, expected: Any) -> None:
    """A result may have None in it, and integers of any size."""
    assert encode(Ok(value)) == ({"id": 3, "ok": expected}, False)


@pytest.mark.parametrize("chunks", [[b"\xef\xbb\xbf1\n2\n"], [b"\xef", b"\xbb", b"\xbf1\n", b"2\n"]])
def test_byte_order_mark_before_the_input_is_ignored(chunks: list[bytes]) -> None:
    """RFC 8259 lets a parser ignore it; an input of nothing else has one empty line."""
    assert [line.data for line in split(chunks)] == [b"1", b"2"]
    assert [line.data for line in split([b"\xef\xbb\xbf"])] == [b""]


def test_byte_order_mark_before_a_line_is_ignored() -> None:
    """Files with such marks may have been joined. A mark of UTF-16 is an error that says so."""
    decode = LineDecoder(int, 99)
    assert decode(InputLine(2, b"\xef\xbb\xbf7", 5)) == 7
    with pytest.raises(InvalidJSON, match="looks like UTF-16"):
        decode(InputLine(1, "\ufeff7".encode("utf-16-le"), 5))


def test_results_of_several_collectors_stand_in_a_list() -> None:
    """Each result names its collector; one error makes the event a failed one."""
    line, failed = encode(Ok(1, key="a"), Error("no", key="b"), several=True)
    assert failed
    assert line == {
        "id": 3,
        "results": [{"collector": "a", "ok": 1}, {"collector": "b", "error": {"type": "Error", "message": "no"}}],
    }


def test_event_that_reached_no_collector_has_no_results_and_did_not_fail() -> None:
    """An empty list of results is told as such."""
    assert encode() == ({"id": 3, "results": []}, False)


def test_traceback_is_given_only_when_asked_for() -> None:
    """The error holds the text of the traceback with --traceback."""
    error = Error(ValueError("x"), {"trace": "Traceback: ..."})
    assert encode(error, tracebacks=True)[0]["error"]["traceback"] == "Traceback: ..."
    assert "traceback" not in encode(error)[0]["error"]
