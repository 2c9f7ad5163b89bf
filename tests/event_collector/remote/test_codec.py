"""The codec against replies and payloads that nobody in their right mind would send: clean errors, nothing executed."""

import asyncio
import contextlib
import sys
import types
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector.data import Delivery, Error, Ok, Payload
from event_collector.exceptions import EncodeError, EventCollectorException, PayloadTypeError, RemoteError
from event_collector.remote.codec import PayloadDecoder, ReplyDecoder, encode_payload, encode_raised, encode_result
from event_collector.remote.remote_exceptions import MOST_BYTES, ExceptionParts, put_together, take_apart
from event_collector_workers.error_texts import text_of
from tests.event_collector.sample_exceptions import DISGUISED, RAISED, BrokenParts, Frozen
from tests.event_collector.sample_graphs import GRAPHS, VAST, Linked, pair, shared_containers, tree
from tests.event_collector.sample_types import Order

encode = msgspec.msgpack.encode

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(codec="utf-8")), children),
    max_leaves=20,
)
frames = st.binary() | plain.map(encode) | st.lists(plain, max_size=8).map(encode)


@settings(deadline=None)
@given(frames, st.none() | st.binary(max_size=20), st.sampled_from([Any, Order, bytes, int]))
def test_garbage_for_a_reply_is_a_clean_error(body: bytes, blob: bytes | None, result_type: Any) -> None:
    """Whatever bytes a worker answers, the outcome is a Result or an error of this package."""
    try:
        outcome = ReplyDecoder(result_type, "c")(body, blob)
    except (EventCollectorException, RuntimeError):
        pass
    else:
        assert isinstance(outcome, (Ok, Error))


@settings(deadline=None)
@given(frames, st.none() | st.binary(max_size=20), st.sampled_from([Any, Order, bytes, int]))
def test_garbage_for_a_payload_is_a_clean_error(body: bytes, blob: bytes | None, payload_type: Any) -> None:
    """Whatever bytes reach a worker, it decodes a Payload or says that it does not fit."""
    with contextlib.suppress(PayloadTypeError):
        assert isinstance(PayloadDecoder(payload_type, "c")(body, blob), Payload)


@settings(deadline=None)
@given(plain, st.lists(st.text(st.characters(codec="utf-8"))), st.none() | st.integers(0, 9) | st.floats(0, 9))
def test_payloads_survive_the_way_there(value: Any, keys: list[str], priority: float | None) -> None:
    """Value, keys, topics and priority of a payload are the same on the other side."""
    sent = Payload(value, Delivery.KEY, keys, keys[:1] if keys else [], priority)
    got = PayloadDecoder(Any, "c")(*encode_payload(sent, "c"))
    assert repr(got) == repr(sent)


@settings(deadline=None)
@given(plain)
def test_results_survive_the_way_back(value: Any) -> None:
    """Ok(value), Error(value) and the bare value are the same on the other side."""
    decode = ReplyDecoder(Any, "c")
    assert decode(*encode_result(value, "c")).unwrap() == value
    assert decode(*encode_result(Ok(value), "c")).unwrap() == value
    error = decode(*encode_result(Error(value, {"a": 1}), "c"))
    assert isinstance(error, Error)
    assert (error.err, error.details) == (value, {"a": 1})


args = st.recursive(
    st.none() | st.integers(0, 99) | st.text(st.characters(codec="utf-8")) | st.decimals(allow_nan=False) | st.uuids(),
    lambda children: st.lists(children) | st.tuples(children, children) | st.frozensets(st.integers(0, 99)),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(args), st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), args), st.lists(st.text()))
def test_exceptions_survive_type_for_type(args: list[Any], attributes: dict[str, Any], notes: list[str]) -> None:
    """Class, args, attributes and notes of an exception are the same on the other side, tuples as tuples."""
    sent = ValueError(*args)
    vars(sent).update(attributes)
    for note in notes:
        sent.add_note(note)
    got = put_together(take_apart(sent))
    assert type(got) is ValueError
    assert got.args == sent.args
    assert {name: vars(got)[name] for name in attributes} == attributes
    expected = [note.encode(errors="backslashreplace").decode() for note in notes]
    assert getattr(got, "__notes__", []) == expected


@settings(deadline=None)
@given(
    st.sampled_from(["builtins", "os", "sys", "subprocess", "event_collector", "asyncio.exceptions", "nowhere", ""]),
    st.sampled_from(
        ["ValueError", "SystemExit", "eval", "system", "Popen", "CalledProcessError", "CollectorQueue", "x.y", ""]
    ),
    st.none() | plain.map(encode) | st.tuples(st.lists(plain), st.dictionaries(st.text(), plain)).map(encode),
)
def test_hostile_exceptions_are_data(module: str, qualname: str, construction: bytes | None) -> None:
    """Whatever a worker names, it becomes an exception that a queue handles, and is not called or imported."""
    before = set(sys.modules)
    got = put_together(ExceptionParts(module, qualname, "text", (), "trace", construction))
    assert isinstance(got, (Exception, asyncio.CancelledError))
    assert "nowhere" not in sys.modules
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "parts",
    [
        ("builtins", "SystemExit"),
        ("builtins", "KeyboardInterrupt"),
        ("builtins", "eval"),
        ("os", "system"),
        ("subprocess", "Popen"),
        ("antigravity", "Error"),
    ],
)
def test_only_exceptions_that_are_here_are_made(parts: tuple[str, str]) -> None:
    """What is no Exception, or not imported yet, is neither called nor imported: a RemoteError names it."""
    construction = encode((["echo executed > /tmp/executed"], {}))
    got = put_together(ExceptionParts(*parts, "the text", (), "", construction))
    assert type(got) is RemoteError
    assert str(got) == f"{parts[0]}.{parts[1]}: the text"
    assert "antigravity" not in sys.modules


def test_modules_that_load_on_demand_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for a class runs no code of its module: no module-level __getattr__, no property."""
    asked: list[str] = []
    lazy = types.ModuleType("lazy")
    lazy.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert type(put_together(ExceptionParts("lazy", "Error", "t", (), "", encode(([], {}))))) is RemoteError
    assert asked == []


def test_attributes_cannot_replace_what_makes_an_exception() -> None:
    """Names with two underscores in a reply are not set."""
    construction = encode((["t"], {"__notes__": 5, "__class__": 6, "code": 7}))
    got = put_together(ExceptionParts("builtins", "ValueError", "t", ("note",), "", construction))
    assert vars(got) == {"code": 7, "__notes__": ["note"]}


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deeply_nested_replies_do_not_end_the_loop(depth: int) -> None:
    """A reply or exception nested beyond reason is an error, not a crash."""
    deep = b"\x91" * depth + b"\xc0"
    with pytest.raises(EncodeError):
        ReplyDecoder(int, "c")(b"\x92\x00" + deep, None)
    group: Exception = ValueError("innermost")
    for _ in range(min(depth, 2000)):
        group = ExceptionGroup("g", [group])
    with pytest.raises((RemoteError, ExceptionGroup)):
        ReplyDecoder(Any, "c")(encode_raised(group, ""), None)


@pytest.mark.parametrize("name", [*RAISED, *DISGUISED])
def test_every_exception_can_be_taken_apart(name: str) -> None:
    """Taking apart and putting together never fails, and keeps the text where there is one."""
    sent = {**RAISED, **DISGUISED}[name]()
    got = put_together(take_apart(sent, "the trace"))
    assert (type(got) is type(sent)) == (name in RAISED)
    assert "the trace" in str(got.__cause__)


def test_an_exception_that_refuses_assignments_keeps_notes_and_cause() -> None:
    """A frozen dataclass is rebuilt as itself, with the notes of the original and the trace of the worker."""
    sent = Frozen("for good")
    vars(sent)["__notes__"] = ["a note"]
    got = put_together(take_apart(sent, "the trace"))
    assert isinstance(got, Frozen)
    assert (got.reason, got.__notes__) == ("for good", ["a note"])
    assert "the trace" in str(got.__cause__)


def test_an_exception_whose_parts_raise_can_be_encoded() -> None:
    """Text, notes and class of an exception may all be broken: it is the exception of the event all the same."""
    try:
        raise BrokenParts
    except BrokenParts as exc:
        body = encode_raised(exc)
    with pytest.raises(BrokenParts) as caught:
        ReplyDecoder(Any, "c")(body, None)
    assert "test_codec.py" in str(caught.value.__cause__)


@pytest.mark.parametrize("name", [*GRAPHS, *VAST])
def test_exceptions_of_any_size_and_shape_cross_the_boundary(name: str) -> None:
    """References between exceptions cost bounded time and bytes, and the text is the same on the other side."""
    sent = {**GRAPHS, **VAST}[name]()
    body = encode_raised(sent)
    assert len(body) < 4 * MOST_BYTES
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of each kind
        ReplyDecoder(Any, "c")(body, None)
    assert isinstance(caught.value, (type(sent), RemoteError))
    assert text_of(sent)[:1000] in text_of(caught.value)


def test_what_leads_back_is_left_out() -> None:
    """An exception keeps what it refers to, and that does not refer to it in turn."""
    one = put_together(take_apart(pair()))
    assert isinstance(one, Linked)
    assert vars(one.other) == {}  # type: ignore[attr-defined]
    root = put_together(take_apart(tree()))
    assert [str(child) for child in root.children] == ["0", "1", "2"]  # type: ignore[attr-defined]
    assert [str(leaf) for leaf in root.children[1].children] == ["1 0", "1 1", "1 2"]  # type: ignore[attr-defined]


def test_attributes_that_are_too_large_are_left_out() -> None:
    """The others are kept, and so is an exception whose arguments fit."""
    sent = shared_containers()
    vars(sent).update(body="x" * (MOST_BYTES + 1), rows=list(range(MOST_BYTES)), status=503)
    got = put_together(take_apart(sent))
    assert isinstance(got, Linked)
    assert vars(got) == {"text": "kept", "status": 503}
    big = put_together(take_apart(Linked("x" * (MOST_BYTES + 1))))
    assert isinstance(big, RemoteError)
    assert "tests.event_collector.sample_graphs.Linked" in big.classes
