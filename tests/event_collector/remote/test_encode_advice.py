"""Advice about values that cannot be encoded: it names the part, and what it names can be encoded."""

import ipaddress
import mmap
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from event_collector import Collector, EncodeError, Payload
from event_collector.remote.codec import encode_payload, encode_result
from event_collector.remote.encode_advice import advice

np = pytest.importorskip("numpy")


class Model:
    """Converts itself as models of pydantic do."""

    def model_dump(self) -> dict[str, int]:
        return {"number": 1}


class Row:
    def _asdict(self) -> dict[str, int]:
        return {"number": 1}


class Hostile:
    """Raises whatever is asked of it."""

    @property
    def ndim(self) -> int:
        raise KeyError("no")

    def item(self) -> None: ...
    def tolist(self) -> None: ...


def told(value: Any) -> str:
    with pytest.raises(EncodeError) as caught:
        encode_payload(Payload(value), "orders")
    return str(caught.value).partition(". ")[2]


FOLLOWED: list[tuple[Callable[[], Any], str, Callable[[Any], Any]]] = [
    (lambda: np.ma.masked_array([1, 2]), ".tolist()", lambda value: value.tolist()),
    (Model, ".model_dump()", lambda value: value.model_dump()),
    (Row, "._asdict()", lambda value: value._asdict()),
    (lambda: ipaddress.ip_address("::1"), "str()", str),
    (lambda: re.compile("a"), "str()", str),
    (lambda: ValueError("no"), "str()", str),
    (lambda: (number for number in range(3)), "list()", list),
    (lambda: {1: 2}.items(), "list()", list),
    (lambda: mmap.mmap(-1, 4), "bytes()", bytes),
    (lambda: "\ud800", ".encode(errors='surrogateescape')", lambda text: "a\udc80".encode(errors="surrogateescape")),
]


@pytest.mark.parametrize(
    ("make", "words", "follow"), FOLLOWED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_advice_names_a_conversion_that_helps(
    make: Callable[[], Any], words: str, follow: Callable[[Any], Any]
) -> None:
    """What the message says to call gives a value that can be sent."""
    assert told(make()).startswith(f"Use {words}")
    encode_payload(Payload(follow(make())), "orders")


def test_the_part_that_cannot_be_encoded_is_named() -> None:
    """However deep it is."""
    assert told({"rows": [{"n": np.int64(2)}, {"n": Row()}]}).startswith("Use ._asdict() for the Row in it")
    assert told([Model()]).startswith("Use .model_dump() for the Model in it")


@pytest.mark.parametrize("value", [object(), Hostile(), len, msgspec])
def test_nothing_else_is_promised(value: Any) -> None:
    """A value without a conversion is told what msgspec encodes; one that raises when it is looked at, too."""
    assert advice(value, TypeError()).startswith("Use what msgspec encodes (dict, list")


def plain(value: Any) -> Any:
    return value


async def asynchronous(value: Any) -> Any:
    return value


@pytest.mark.parametrize("handler", [plain, asynchronous])
def test_the_mode_that_is_offered_is_one_of_the_handler(handler: Callable[..., Any]) -> None:
    """A plain function is not offered the event loop, nor a coroutine function a thread."""
    collector = Collector("orders", handler, mode="process")
    for encode, value in ((encode_payload, Payload(object())), (encode_result, object())):
        with pytest.raises(EncodeError) as caught:
            encode(value, collector)
        modes = re.findall(r"mode='(\w+)'", str(caught.value))
        assert len(modes) == 1
        assert Collector("orders", handler, mode=modes[0])
