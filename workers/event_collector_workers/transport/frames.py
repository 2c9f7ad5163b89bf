"""The messages between the pool and one worker: a fixed header, a msgpack head, perhaps a raw blob.

A message is `HEADER`, then `head` bytes of msgpack, then `blob` bytes, unencoded. A blob length of -1 means no blob,
as opposed to an empty one. Decoding executes nothing: everything from a worker is data.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import msgspec

from event_collector_workers.transport.records import LogLevels
from event_collector_workers.transport.sheet import Kept

HEADER: Final = struct.Struct("<IIq")  # kind, bytes of head, bytes of blob
NO_BLOB: Final = -1
BLOB_FROM: Final = 64 * 1024
"""Bytes from which a value is sent raw beside its head instead of inside it. Measured in bench; page faults decide."""

_MARK: Final = 0xEC0D0000  # foreign output on this socket does not begin with this by accident


class Kind(IntEnum):
    """The kinds of messages. The upper half of each number is the same and distinguishes messages from garbage."""

    # to the worker
    SETUP = _MARK + 1  # once: the tasks; page, lifeline and outlet are attached descriptors
    JOBS = _MARK + 2  # a Batch
    STOP = _MARK + 3  # finish earlier jobs, close the tasks, exit
    CHUNK = _MARK + 9  # a ChunkHead; the items are the blob
    GO_ON = _MARK + 10  # a Turn: how far a suspended job may go on
    LEVELS = _MARK + 11  # LogLevels, which have changed in the program
    # from the worker
    READY = _MARK + 4  # once: the tasks are open
    FAILED = _MARK + 5  # the worker cannot start; the head is the text of a traceback
    LOOK = _MARK + 6  # the shared page holds records
    RESULT = _MARK + 7  # one Record that does not fit into the shared page, perhaps with a blob
    STOPPED = _MARK + 8  # last: the tasks are closed; the head is the text of a traceback, or empty
    PART = _MARK + 9  # a Part of a job that goes on, perhaps with a blob


class Outcome(IntEnum):
    """The ways a job can end in the worker."""

    DONE = 0
    ERROR = 1  # the task raised; the body is the traceback's text
    SKIPPED = 2  # taken back by the parent before it started
    # of chunks; the sequence number of each record is that of the first item of the chunk
    ITEMS = 3  # items have ended: a Kept
    ITEM = 4  # an item has ended: its sequence number and the reply, perhaps with a blob
    ENDED = 5  # a Kept; the chunk is over, its other items were skipped


Batch = tuple[int, list[tuple[int, bytes]]]
"""Sequence number of the first job, then (task, body) of each job. A job with a blob is alone in its batch."""

ChunkHead = tuple[int, int, int]
"""Sequence number of the first item, task, number of items. The items have consecutive numbers."""

Record = tuple[int, int, float, bytes]
"""Sequence number, Outcome, seconds inside the task, body."""


Turn = tuple[int, int]
"""Sequence number of a job, and how many parts more it may give; 0: it is to be closed."""

Part = tuple[int, bytes]
"""Sequence number of a job, and body. The parts of a job, and then its Record, travel through the socket in order."""


class WorkerSetup(msgspec.Struct, frozen=True, array_like=True):
    """The information that a worker needs before its first job."""

    tasks: list[tuple[str, bytes]]
    """Reference and argument of each task factory, in the order of the task numbers."""
    levels: LogLevels | None = None
    """Levels of log records that the program does not drop; None for workers that write themselves what they log."""


encode: Final = msgspec.msgpack.Encoder().encode
decode_batch: Final = msgspec.msgpack.Decoder(Batch).decode
decode_chunk: Final = msgspec.msgpack.Decoder(ChunkHead).decode
decode_kept: Final = msgspec.msgpack.Decoder(Kept).decode
decode_item: Final = msgspec.msgpack.Decoder(tuple[int, bytes]).decode
decode_turn: Final = msgspec.msgpack.Decoder(Turn).decode
decode_part: Final[Callable[[bytes], Part]] = msgspec.msgpack.Decoder(Part).decode
decode_levels: Final = msgspec.msgpack.Decoder(LogLevels).decode
decode_setup: Final = msgspec.msgpack.Decoder(WorkerSetup).decode
_decode_records: Final = msgspec.msgpack.Decoder(list[Record]).decode
decode_record: Final[Callable[[bytes], Record]] = msgspec.msgpack.Decoder(Record).decode


def decode_records(count: int, records: bytes) -> list[Record]:
    """Decode `count` consecutive records. Raises msgspec.DecodeError if the bytes are not exactly that many."""
    return _decode_records(b"\xdd" + count.to_bytes(4) + records)


def message(kind: Kind, head: bytes = b"", blob_size: int = NO_BLOB) -> bytes:
    """Return a message without its blob, which follows unencoded."""
    return HEADER.pack(kind, len(head), blob_size) + head
