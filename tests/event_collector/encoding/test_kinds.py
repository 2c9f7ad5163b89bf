"""Values that msgspec does not know come back as what was sent, or are refused with what to do."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from event_collector import EncodeError, Payload, PayloadTypeError
from event_collector.remote.codec import (
    PayloadDecoder,
    ReplyDecoder,
    encode_around,
    encode_form,
    encode_payload,
    encode_result,
    form_in,
)
from event_collector.remote.fidelity import Fidelity
from tests.event_collector.encoding import sample_travellers as travellers
from tests.event_collector.encoding.sample_travellers import LARGE, VALUES, Cheque, Money, Trip, same


def sent(value: Any, kind: Any = Any, *, inline: bool = False) -> Any:
    """Return what a handler gets."""
    parts = encode_payload(Payload(value), "c", inline=inline, fidelity=Fidelity(kind))
    return PayloadDecoder(kind, "c")(*parts).value


def returned(value: Any, kind: Any = Any) -> Any:
    """Return what comes back from a handler."""
    return ReplyDecoder(kind, "c")(*encode_result(value, "c", fidelity=Fidelity(kind))).unwrap()


def available(library: str) -> list[Any]:
    if library != "standard library":
        pytest.importorskip(library)
    if library == "pandas":
        pytest.importorskip("pyarrow")
    return list(VALUES[library]())


@pytest.mark.parametrize("library", VALUES)
def test_values_come_back_as_what_was_sent(library: str) -> None:
    """As payloads and as results, alone and in a list, in one message or with buffers beside it."""
    for value in available(library):
        assert same(value, sent(value)), value
        assert same(value, sent(value, inline=True)), value
        assert same(value, returned(value)), value
        if type(value) not in (bytearray, memoryview):  # within others these are bytes
            assert same([value, 1], sent([value, 1])), value


def test_a_value_that_waits_keeps_its_tags() -> None:
    """Encoded when it was sent, it goes to a worker or into a batch, with the buffers as they were."""
    np = pytest.importorskip("numpy")
    array = np.zeros(LARGE)
    values = [array, Money(Decimal(1), "EUR"), {"two": [array, np.zeros(LARGE)], "n": 2**70}, 1j]
    expected = [array.copy(), *values[1:2], {"two": [array.copy(), np.zeros(LARGE)], "n": 2**70}, 1j]
    forms = [encode_form(value, "c", Fidelity(Any)) for value in values]
    array[0] = 1
    for form, value in zip(forms, expected, strict=True):
        for inline in (False, True):
            around = encode_around(form, Payload(None), 1, inline=inline)
            assert same(PayloadDecoder(Any, "c")(*around).value, value)
            assert form_in(around).value
            assert not (inline and around[1])


@pytest.mark.parametrize("library", ["numpy", "pandas", "PIL"])
def test_an_annotation_is_that_of_the_library(library: str) -> None:
    """A handler that names the class gets its object; for another value its event has a PayloadTypeError."""
    first = available(library)[0]
    assert same(first, sent(first, type(first)))
    assert same([first], sent([first], list[type(first)]))  # type: ignore[misc]  # made at run time
    assert sent(None, type(first) | None) is None
    with pytest.raises(PayloadTypeError, match=f"Expected `.*{type(first).__name__}`, got `str`"):
        sent("text", type(first))


def test_arrays_of_payloads_cannot_be_written_and_those_of_results_can() -> None:
    """Whatever their size, so that a handler that works with a small one works with a large one."""
    np = pytest.importorskip("numpy")
    for size in (3, LARGE):
        array = np.zeros(size)
        assert not sent(array).flags.writeable
        assert returned(array).flags.writeable


def test_scalars_of_numpy_fit_numbers_of_python() -> None:
    """A handler `-> float` may return the mean of an array; one that is annotated with a scalar gets that."""
    np = pytest.importorskip("numpy")
    for value, kind, found in (
        (np.float64(1.5), float, 1.5),
        ([np.int64(3), 4], list[int], [3, 4]),
        ({"a": np.bool_(True)}, dict[str, bool], {"a": True}),
        (2.0, np.float64, np.float64(2.0)),
    ):
        assert repr(sent(value, kind)) == repr(returned(value, kind)) == repr(found)
    with pytest.raises(PayloadTypeError, match="Expected `int`, got `float`"):
        sent(np.float64(1.5), int)


def test_the_element_type_of_an_array_is_checked() -> None:
    """`NDArray[np.float64]` takes no integers."""
    np = pytest.importorskip("numpy")
    floats = np.typing.NDArray[np.float64]
    assert same(np.zeros(3), sent(np.zeros(3), floats))
    with pytest.raises(PayloadTypeError, match="expected an array of float64, got one of int64"):
        sent(np.zeros(3, "i8"), floats)


def test_types_have_parts_of_any_kind() -> None:
    """Integers of any size, paths, registered types and large bytes arrive where a type has them."""
    trip = Trip(Path("a"), 2**70, 1.5, Money(Decimal(1), "EUR"), b"x" * 100_000, [1j, Fraction(1, 3)])
    assert sent(trip, Trip) == returned(trip, Trip) == trip
    assert sent(trip) == msgspec.structs.asdict(trip)
    for value, kind in ((2**70, int), ([2**70], list[int]), ({2**70: 1}, dict[int, int]), (-(2**70), int | None)):
        assert sent(value, kind) == returned(value, kind) == value
    with pytest.raises(PayloadTypeError, match="Expected `str`, got `int`"):
        sent(2**70, str)


def test_data_of_another_origin_fits_an_annotation() -> None:
    """As JSON has it: text for a path, a dict for a model."""
    assert sent("a/b", Path) == Path("a/b")
    assert sent("1/3", Fraction) == Fraction(1, 3)
    assert sent(2, complex) == 2 + 0j
    with pytest.raises(PayloadTypeError, match="ZeroDivisionError"):
        sent("1/0", Fraction)
    pytest.importorskip("pydantic")
    assert sent({"size": 3}, travellers.Part) == travellers.Part(size=3)
    with pytest.raises(PayloadTypeError, match="valid integer"):
        sent({"size": "three"}, travellers.Part)


def test_a_model_keeps_which_fields_were_set() -> None:
    """`model_dump(exclude_unset=True)` says the same on the other side."""
    pytest.importorskip("pydantic")
    assert sent(travellers.Part(size=1)).model_fields_set == {"size"}
    assert sent(travellers.Part()).model_fields_set == set()


def test_an_image_of_a_file_arrives_as_its_pixels() -> None:
    """It is an `Image`, with what the file says about it; the reader of the file stays."""
    image_module = pytest.importorskip("PIL.Image")
    picture = travellers.picture()
    found = sent(picture)
    assert type(found) is image_module.Image
    assert (found.tobytes(), found.info) == (picture.tobytes(), picture.info)


def frames() -> Any:
    pytest.importorskip("pyarrow")
    return pytest.importorskip("pandas")


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Cheque(Decimal(1), "EUR"), r"or register_type\(Cheque, encode=..., decode=...\)"),
    (lambda: pytest.importorskip("numpy").array([object()]), "an array of objects .* a dtype other than object"),
    (
        lambda: frames().DataFrame({"a": [[1], [2]]}),
        "the column 'a' of type object would come back as list.* convert it",
    ),
    (
        lambda: frames().DataFrame({"a": [1, "x"]}, dtype=object),
        "Arrow does not have the values of a column: .*convert",
    ),
    (lambda: frames().DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names"),
    (lambda: pytest.importorskip("polars").DataFrame({"a": [object()]}), "a column of objects has no Arrow type"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_what_would_come_back_as_something_else_is_refused(make: Callable[[], Any], words: str) -> None:
    """The error says what to do about it, in payloads, results and within other values."""
    value = make()
    with pytest.raises(EncodeError, match=f"the payload of type .*{words}"):
        sent(value)
    with pytest.raises(EncodeError, match=f"the result of type list .*{words}"):
        returned([value])


def test_extensions_of_others_stay_what_they_are() -> None:
    """A value may have extensions of msgpack that mean nothing here."""
    other = msgspec.msgpack.Ext(5, b"data")
    assert sent([other]) == returned([other]) == [other]


@pytest.mark.parametrize("code", [0x45, 0x46])
def test_forged_tags_are_clean_errors(code: int) -> None:
    """What claims to be a tagged value and is none is a PayloadTypeError; pickle is not among the kinds."""
    for data in (b"", b"\x00", msgspec.msgpack.encode(["pickle", [b"cos\nsystem\n", []]]), b"\x92\xa3int\xc0"):
        forged = msgspec.msgpack.Ext(code, data)
        with pytest.raises(PayloadTypeError):
            PayloadDecoder(Any, "c")(msgspec.msgpack.encode([forged]), None)


def test_no_module_is_imported_by_a_name_in_a_value() -> None:
    """A class that a message names is found only if it is imported, or if the program says which module to import."""
    named = msgspec.msgpack.encode(["registered", ["antigravity:Flight", 1]])
    forged = msgspec.msgpack.Ext(0x45, named)
    with pytest.raises(PayloadTypeError, match="is not imported here"):
        PayloadDecoder(Any, "c")(msgspec.msgpack.encode([forged]), None)
