"""`register_type()`: what it takes, and what it refuses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from event_collector import ConfigError, PayloadTypeError, register_type
from tests.event_collector.encoding.sample_travellers import Money
from tests.event_collector.encoding.test_kinds import sent


class Plain:
    pass


class Worse(Plain):
    pass


class Better(Plain):
    pass


class Counts(dict[str, int]):
    pass


@dataclass
class Parcel:
    weight: int


def test_a_registered_type_is_annotated_by_itself_or_its_base() -> None:
    """A handler may name a base class; for a value of another type its event has a PayloadTypeError."""
    register_type(Better, encode=lambda _: None, decode=lambda _: Better())
    assert type(sent(Better(), Better)) is type(sent(Better(), Plain)) is type(sent([Better()])[0]) is Better
    with pytest.raises(PayloadTypeError, match="Expected `Money`, got `Better`"):
        sent(Better(), Money)


def test_what_decode_returns_is_checked() -> None:
    """It has to be an object of the class."""
    register_type(Worse, encode=lambda _: {"a": 1}, decode=lambda data: data)
    with pytest.raises(PayloadTypeError, match=r"decode= of .*:Worse returned dict"):
        sent(Worse())


def local() -> type:
    class Local:
        pass

    return Local


@pytest.mark.parametrize(
    ("cls", "functions", "words"),
    [
        (5, {}, "takes a class, not 5"),
        (Plain, {"encode": None}, "for Plain needs encode="),
        (Plain, {"decode": "no"}, "decode takes a function, not 'no'"),
        (local(), {}, "is defined inside a function"),
        (Money, {}, "Money is registered"),
        (Path, {}, "Path is registered, or travels without it"),
        (Parcel, {}, "msgspec encodes Parcel by itself"),
        (Counts, {}, "msgspec encodes Counts by itself"),
        (int, {}, "msgspec encodes int by itself"),
    ],
)
def test_wrong_use_is_refused_at_once(cls: Any, functions: dict[str, Any], words: str) -> None:
    """The error names what is wrong."""
    with pytest.raises(ConfigError, match=words):
        register_type(cls, **({"encode": str, "decode": Plain} | functions))
