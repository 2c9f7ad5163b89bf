"""Types of payloads and results for the tests of modes, at the top level of a module that workers can import."""

import dataclasses
import enum
import os
from typing import NamedTuple, TypedDict

import msgspec


class Colour(enum.Enum):
    RED = "red"


class Order(msgspec.Struct):
    number: int
    lines: list[str] = []


class Receipt(msgspec.Struct):
    total: int


@dataclasses.dataclass
class Parcel:
    weight: int


class Label(TypedDict):
    text: str


class Point(NamedTuple):
    x: int
    y: int


class Checked(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise LookupError("numbers below 0 are not kept")


class ExitsWhenMade(msgspec.Struct):
    code: int

    def __post_init__(self) -> None:
        os._exit(self.code)


class Unknown:
    """Nothing that msgspec knows."""
