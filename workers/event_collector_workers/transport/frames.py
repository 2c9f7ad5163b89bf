"""The messages between the pool and one worker: a fixed header, a msgpack head, perhaps a raw blob.

A message is `HEADER`, then `head` bytes of msgpack, then `blob` bytes as they are. A blob length of -1 says
that there is none, which is not the same as an empty one. Nothing here executes anything: what comes from a
worker is data.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BLOB_FROM",
    "HEADER",
    "NO_BLOB",
    "Batch",
    "Kind",
    "Outcome",
    "Record",
    "Setup",
    "decode_batch",
    "decode_record",
    "decode_records",
    "decode_setup",
    "encode",
    "message",
]

HEADER: Final = struct.Struct("<IIq")  # kind, bytes of head, bytes of blob
NO_BLOB: Final = -1
BLOB_FROM: Final = 64 * 1024
"""Bytes from which a value is better sent raw beside its head than inside it: page faults decide, see
bench."""

_MARK: Final = 0xEC0D0000  # no other writer to this socket begins its bytes with this by accident


class Kind(IntEnum):
    """What a message is. The upper half of the number is the same in all and tells garbage from messages."""

    SETUP = _MARK + 1  # to the worker, once: the tasks, with the shared page as an attached descriptor
    JOBS = _MARK + 2  # to the worker: a Batch
    STOP = _MARK + 3  # to the worker: finish what came before, close the tasks, exit
    READY = _MARK + 4  # from the worker, once: the tasks are open
    FAILED = _MARK + 5  # from the worker: it cannot start; the head is the traceback's text
    LOOK = _MARK + 6  # from the worker: there are records in the shared page
    RESULT = (
        _MARK + 7
    )  # from the worker: one Record that does not fit into the shared page, perhaps with a blob
    STOPPED = (
        _MARK + 8
    )  # from the worker, last: the tasks are closed; the head is a traceback's text, or empty


class Outcome(IntEnum):
    """How one job ended in the worker."""

    DONE = 0
    ERROR = 1  # the task raised; the body is the traceback's text
    SKIPPED = 2  # taken back by the parent before it started


Batch = tuple[int, list[tuple[int, bytes]]]
"""The sequence number of the first job, then (task, body) of each; a blob belongs to the only job of its
batch."""

Record = tuple[int, int, float, bytes]
"""Sequence number, Outcome, seconds inside the task, body."""


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """What a worker must know before its first job."""

    parent: int
    """The pool's process id: the worker ends when that process does."""
    tasks: list[tuple[str, bytes]]
    """Reference and argument of each task factory, in the order of the task numbers."""


encode: Final = msgspec.msgpack.Encoder().encode
decode_batch: Final = msgspec.msgpack.Decoder(Batch).decode
decode_setup: Final = msgspec.msgpack.Decoder(Setup).decode
_decode_records: Final = msgspec.msgpack.Decoder(list[Record]).decode
decode_record: Final[Callable[[bytes], Record]] = msgspec.msgpack.Decoder(Record).decode


def decode_records(count: int, records: bytes) -> list[Record]:
    """Decode `count` records that stand one after the other, in one go.

    Raises:
        msgspec.DecodeError: The bytes are not exactly that many records.

    """
    return _decode_records(b"\xdd" + count.to_bytes(4) + records)


def message(kind: Kind, head: bytes = b"", blob_size: int = NO_BLOB) -> bytes:
    """Return a message but for its blob, which follows as it is."""
    return HEADER.pack(kind, len(head), blob_size) + head
