"""Values arrive in a worker, and come back, as what they are; or their event has an EncodeError."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_collector import EncodeError
from event_collector.data import Payload
from event_collector.remote.codec import PayloadDecoder, ReplyDecoder, encode_payload, encode_result
from event_collector.remote.fidelity import Fidelity, _holds_timestamps

EAST = timezone(timedelta(hours=5, minutes=30))
WHEN = datetime(2026, 7, 1, 1, 30, tzinfo=EAST)


class Season(tzinfo):
    """A zone whose offset depends on the time of the year."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None if when is None else timedelta(hours=2 if 3 < when.month < 11 else 1)

    def dst(self, _when: datetime | None) -> timedelta | None:
        return None


class Level(IntEnum):
    HIGH = 1


@dataclass
class Parcel:
    weight: int


@dataclass
class Express(Parcel):
    until: str = "noon"


class Point(NamedTuple):
    x: int


class Named(Point):
    pass


class Tour(msgspec.Struct):
    parcel: Parcel | None = None
    start: datetime | None = None
    parts: "list[Tour]" = []
    note: Any = None


class Detour(Tour):
    reason: str = "snow"


def sent_and_returned(value_type: Any, value: Any) -> list[Any]:
    """Return what a handler gets, and what comes back from one that returns it."""
    fidelity = Fidelity(value_type)
    body = encode_payload(Payload(value), "c", fidelity=fidelity)
    reply = encode_result(value, "c", fidelity=fidelity)
    return [PayloadDecoder(value_type, "c")(*body).value, ReplyDecoder(value_type, "c")(*reply).unwrap()]


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        (datetime, WHEN),
        (Tour, Tour(start=WHEN)),
        (dict[str, list[datetime]], {"a": [WHEN, WHEN.astimezone(UTC)]}),
        (time, time(1, tzinfo=EAST)),
        (Any, {"a": WHEN.astimezone(UTC), "b": b"\xd6\xff\xd7\xff"}),
        (Level, Level.HIGH),
        (Tour, Tour(Parcel(1), parts=[Tour(), Tour(note=[1])])),
        (Detour, Detour(Parcel(1))),
        (Parcel | None, Parcel(1)),
        (tuple[int, Point], (1, Point(1))),
    ],
    ids=str,
)
def test_values_arrive_as_what_they_are(value_type: Any, value: Any) -> None:
    """The offset of a datetime is kept where the type says that it is one."""
    assert [repr(found) for found in sent_and_returned(value_type, value)] == [repr(value)] * 2


@pytest.mark.parametrize(
    ("value_type", "value", "words"),
    [
        (Parcel, Express(1), "Express would arrive as Parcel"),
        (list[Parcel], [Parcel(1), Express(1)], "Express would arrive as Parcel"),
        (dict[str, Parcel | None], {"a": Express(1)}, "Express would arrive as Parcel"),
        (Tour, Detour(), "Detour would arrive as Tour"),
        (Tour, Tour(parts=[Tour(Express(1))]), "Express would arrive as Parcel"),
        (tuple[int, Point], (1, Named(1)), "Named would arrive as Point"),
        (dict[str, int], OrderedDict(a=1), "OrderedDict would arrive as dict"),
        (int, Level.HIGH, "Level would arrive as int"),
        (list[int], [1, Level.HIGH], "Level would arrive as int"),
        (dict[str, float], {"a": 2**53 + 1}, "9007199254740993 would arrive as 9007199254740992"),
        (list[float], [1, 2**60 - 1], "annotate int . float"),
        (datetime, datetime(2026, 7, 1, tzinfo=Season()), "would lose its time zone"),
        (datetime, datetime.fromisoformat("2026-07-01").replace(fold=1), "or its fold"),
        (time, time(1, tzinfo=Season()), "would lose its time zone"),
        (Any, [WHEN], "would lose its offset: annotate it as datetime, or send it in UTC"),
        (Tour, Tour(note=WHEN), "would lose its offset"),
    ],
    ids=str,
)
def test_values_that_would_arrive_as_something_else_are_refused(value_type: Any, value: Any, words: str) -> None:
    """Payloads and results, also deep in others, and with the reason."""
    fidelity = Fidelity(value_type)
    with pytest.raises(EncodeError, match=f"the payload .*{words}"):
        encode_payload(Payload(value), "c", fidelity=fidelity)
    with pytest.raises(EncodeError, match=f"the result .*{words}"):
        encode_result(value, "c", fidelity=fidelity)


BYTES_OF_TIMESTAMPS = st.sampled_from([0xFF, 0xD6, 0xD7, 0xC7, 0x0C, 0x01])


@given(st.lists(BYTES_OF_TIMESTAMPS, max_size=40).map(bytes), st.integers(0, 12))
def test_timestamps_are_found_among_any_bytes(encoded: bytes, repeated: int) -> None:
    """The search that suits large values finds the same as the simple one."""
    encoded = b"\xff" * repeated + encoded
    kinds = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff")
    assert _holds_timestamps(encoded) is any(kind in encoded for kind in kinds)
