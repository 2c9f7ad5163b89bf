"""Values that msgspec does not know, by the library that they need, and handlers that get them."""

import array
import math
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from event_collector import Codec, register_type

LARGE = 20_000
"""Numbers of 8 bytes that travel beside their message."""


class Money:
    """Travels as its registration says."""

    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount, self.currency = amount, currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Cheque(Money):
    """A subclass that is not registered."""


register_type(Money, encode=lambda money: (money.amount, money.currency), decode=lambda parts: Money(*parts))


class Point:
    """Travels by the codec of a collector."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def point_to_list(value: Any) -> Any:
    if isinstance(value, Point):
        return [value.x, value.y]
    raise NotImplementedError


def point_from_list(kind: Any, value: Any) -> Any:
    if kind is Point:
        return Point(*value)
    raise NotImplementedError


POINTS = Codec(enc_hook=point_to_list, dec_hook=point_from_list)


class Colour(Enum):
    RED = "red"


class Trip(msgspec.Struct):
    """Has fields of all sorts."""

    path: Path | None = None
    count: int = 0
    share: float = 0.0
    money: Money | None = None
    data: bytes = b""
    extra: Any = None


if find_spec("pydantic"):
    import pydantic

    class Part(pydantic.BaseModel):
        size: int = 0

    class LargePart(Part):
        weight: float = 1.5

    class Machine(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow", strict=True, frozen=True)
        number: int
        built: datetime
        due: date
        place: tuple[float, str]
        tags: set[str]
        colour: Colour
        part: Part
        length: float = pydantic.Field(math.inf, alias="Length")
        price: Decimal = Decimal("1.50")
        wait: timedelta = timedelta(days=1)
        home: pydantic.HttpUrl = pydantic.HttpUrl("https://example.org/a")
        key: pydantic.SecretStr = pydantic.SecretStr("s")

    class Numbers(pydantic.RootModel[list[int]]):
        pass


def standard() -> Iterator[Any]:
    yield from (2**64, -(2**63) - 1, math.factorial(50), 1j, complex(-0.0, math.inf), Fraction(10**30, 7))
    yield from (Path("a/b"), PurePosixPath("/"), PureWindowsPath("c:/d"), Path("odd-\udc80"))
    yield from (range(1, 10**20, 3), slice(None, Fraction(1, 2), 2**70), array.array("d", [1.5, -0.0]))
    yield from (bytearray(b"a"), bytearray(LARGE * 8), b"b" * LARGE * 8)
    yield from (Money(Decimal("1.50"), "EUR"), [Money(Decimal(1), "EUR"), {2**70: [Path("a"), {"deep": 1j}]}])
    yield from (memoryview(b"view"), memoryview(array.array("d", [1.5, 2.5])), memoryview(bytes(LARGE * 8)))
    yield {"two": [bytes(LARGE * 8), array.array("q", range(LARGE)), array.array("b", [1] * 70_001)]}


def numpy() -> Iterator[Any]:
    import numpy as np

    cube = np.arange(24.0).reshape(2, 3, 4)
    yield from (cube, np.asfortranarray(cube), cube[:, ::2], cube.T, cube[::-1], np.broadcast_to(1.5, (3, 4)))
    yield from (np.array(5), np.array([]), np.zeros((0, 3), "i2"), np.ones((3, 1, 2)), np.zeros(3, "S0"))
    yield from (np.array([1, 2], ">i4"), np.array([True]), np.array([1j], "c8"), np.array([1.5], "f2"))
    yield from (np.array(["2026-01-01", "NaT"], "M8[D]"), np.array([1], "m8[s]"), np.zeros(2, "V5"))
    yield from (np.array(["ab", "ü"]), np.array([b"ab\0"]), np.array([(1, 2.0, "a")], "i4, >f8, U3"))
    yield np.array([(1, [2, 3])], np.dtype([("a", "i1"), ("b", "f8", (2,))], align=True))
    yield from (np.zeros(LARGE), np.zeros((150, 150), order="F"), [np.zeros(LARGE), {"b": np.ones(LARGE)}])
    yield from (np.float64(1.5), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.str_("ü"), np.bytes_(b"a"))
    yield from (np.datetime64("2026-01-01"), np.timedelta64(3, "s"), np.complex64(1j), np.zeros(1, "i4, f8")[0])
    if hasattr(np.dtypes, "StringDType"):
        yield np.array(["a", "longer than sixteen bytes"], np.dtypes.StringDType())


def pandas() -> Iterator[Any]:
    import numpy as np
    import pandas as pd

    times = pd.date_range("2026-01-01", periods=3, freq="h", name="time")
    frame = pd.DataFrame(
        {
            "number": [1, 2, 3],
            "share": [1.5, None, 3],
            "text": ["x", "y", None],
            "kind": pd.Categorical(["u", "v", "u"], ordered=True),
            "zone": pd.date_range("2026-03-29", periods=3, tz="Europe/Berlin"),
            "small": np.array([1, 2, 3], "i1"),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "wait": pd.to_timedelta([1, 2, 3], "s"),
            "month": pd.period_range("2026-01", periods=3, freq="M"),
        },
        index=times,
    )
    yield from (frame, frame.reset_index(drop=True), frame.set_index(["number", "text"]), frame.iloc[:0], frame[::2])
    yield from (pd.DataFrame(), pd.DataFrame(index=[1, 2]), pd.DataFrame({1: [1], 2: [2.0]}))
    yield pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
    yield pd.DataFrame(np.zeros((LARGE, 3)), columns=list("abc"))
    yield from (frame["share"], frame["kind"], pd.Series([1, 2], name=("a", 1)), pd.Series(["a"], index=["x"]))


def polars() -> Iterator[Any]:
    import polars as pl

    frame = pl.DataFrame(
        {
            "number": [1, None],
            "list": [[1], [2, 3]],
            "kind": pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"])),
            "row": [{"a": 1}, {"a": 2}],
            "day": [date(2026, 1, 1)] * 2,
            "price": [Decimal("1.5")] * 2,
        }
    )
    yield from (frame, frame.clear(), pl.DataFrame(), pl.DataFrame({"a": [0.5] * LARGE}), frame["kind"])


def pyarrow() -> Iterator[Any]:
    import pyarrow as pa

    table = pa.table({"a": [1, 2], "b": ["x", None]}, metadata={"k": "v"})
    yield from (table, pa.concat_tables([table, table]), pa.table({"a": [0.5] * LARGE}), pa.table({}))
    yield from (table.to_batches()[0], table.to_batches()[0].slice(1), pa.record_batch({"a": pa.array([], pa.int8())}))


def pillow() -> Iterator[Any]:
    from PIL import Image

    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "LA"):
        image = Image.new(mode, (7, 5))
        image.info["dpi"] = (72, 72)
        if mode == "P":
            image.putpalette(list(range(256)) * 3)
        yield image
    yield from (Image.new("L", (0, 0)), Image.effect_noise((500, 400), 30))


def pydantic_models() -> Iterator[Any]:
    machine = Machine(
        number=2**70,
        built=datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        due=date(2026, 1, 2),
        place=(1.0, "a"),
        tags={"x"},
        colour=Colour.RED,
        part=LargePart(size=3),
        added=[(1, datetime(2026, 1, 2, tzinfo=UTC))],  # type: ignore[call-arg]
    )
    yield from (machine, [machine, {"a": LargePart()}], Numbers([1, 2]))


VALUES: dict[str, Callable[[], Iterator[Any]]] = {
    "standard library": standard,
    "numpy": numpy,
    "pandas": pandas,
    "polars": polars,
    "pyarrow": pyarrow,
    "PIL": pillow,
    "pydantic": pydantic_models,
}
"""What makes the values of each library."""


def picture() -> Any:
    """Return an image that Pillow has opened, and not read."""
    from PIL import Image

    stream = BytesIO()
    Image.effect_noise((50, 40), 30).convert("RGB").save(stream, "PNG", dpi=(72, 72))
    return Image.open(BytesIO(stream.getvalue()))


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal, type for type, however their libraries say it."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind in (list, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if kind is dict:
        return same(list(left.items()), list(right.items()))
    library = kind.__module__.partition(".")[0]
    if library == "numpy":
        return same_arrays(left, right)
    if library == "pandas":
        testing = sys.modules["pandas"].testing
        (testing.assert_frame_equal if left.ndim == 2 else testing.assert_series_equal)(left, right)
        return True
    if library == "polars":
        return bool(left.equals(right)) and getattr(left, "schema", None) == getattr(right, "schema", None)
    if library == "pyarrow":
        return bool(left.equals(right, check_metadata=True))
    if library == "PIL":
        return bool(left == right) and left.info == right.info
    return bool(left == right)


def same_arrays(left: Any, right: Any) -> bool:
    np = sys.modules["numpy"]
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    is_scattered = not all(one.flags.c_contiguous or one.flags.f_contiguous for one in (left, right))
    kept = is_scattered or left.flags.f_contiguous == right.flags.f_contiguous
    np.testing.assert_array_equal(left, right)
    return bool(kept)


def echo(value: Any) -> Any:
    return value


async def echo_async(value: Any) -> Any:
    return value


def echo_all(values: list[Any]) -> list[Any]:
    return values


def echo_parts(value: list[Any]) -> Iterator[Any]:
    yield from value


def describe(value: Any) -> Any:
    """Return the class of a value, and whether it is a view that cannot be written."""
    return type(value).__name__, getattr(getattr(value, "flags", None), "writeable", None)


def echo_trip(trip: Trip) -> Trip:
    return trip


def pay(money: Money) -> Money:
    return Money(money.amount * 2, money.currency)


def mirror(point: Point) -> Point:
    return Point(point.y, point.x)
