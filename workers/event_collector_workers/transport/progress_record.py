"""The progress of a job in the page of its worker: one record, which each report replaces.

It is written with one copy and no lock, because handlers may report in a tight loop, from several threads, and in
signal handlers. A checksum tells the reader that it has met a copy half way: it reads again.
"""

import struct
from binascii import crc32
from typing import Final, NamedTuple

PROGRESS_AT: Final = 512
"""Bytes of the page before the record. It has cache lines of its own."""
PROGRESS_SIZE: Final = 512

MOST_NOTE: Final = 200
"""Bytes of a note. A longer one is cut."""

_HEAD: Final = struct.Struct("<QQddH")  # number of the job, monotonic nanoseconds, done, total, bytes of the note
_UNKNOWN: Final = -1.0  # in place of a total
_TRIES: Final = 8  # a copy takes nanoseconds, and a report a microsecond


class Progress(NamedTuple):
    """What a job has reported last."""

    done: float
    total: float | None
    """None if it is unknown."""
    note: str
    at: float
    """Monotonic seconds."""


def encode_progress(sequence: int, now_ns: int, done: float, total: float | None, note: str) -> bytes:
    """Return the record of a report."""
    text = note.encode(errors="replace")[:MOST_NOTE]
    record = _HEAD.pack(sequence, now_ns, done, _UNKNOWN if total is None else total, len(text)) + text
    return record + crc32(record).to_bytes(4, "little")


def read_progress(record: memoryview, sequence: int) -> Progress | None:
    """Return what the job with this number has reported; None if it has not."""
    for _ in range(_TRIES):
        data = bytes(record)
        number, at, done, total, size = _HEAD.unpack_from(data)
        end = _HEAD.size + size
        if crc32(data[:end]) == int.from_bytes(data[end : end + 4], "little"):
            if number != sequence:
                return None
            note = data[_HEAD.size : end].decode(errors="ignore")
            return Progress(done, None if total == _UNKNOWN else total, note, at / 1e9)
    return None
