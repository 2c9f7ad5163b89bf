"""What the write-ahead log of a journal holds, before SQLite reads it.

SQLite ends its reading at the first frame whose checksum is wrong, and says nothing: right for the torn end of a
transaction that nobody was told of, and wrong for a flipped bit before others that were acknowledged. Format:
https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["LogSurvey", "survey"]

HEADER: Final = 32
FRAME_HEADER: Final = 24
_MAGIC: Final = 0x377F0682  # its last bit tells the byte order of the checksums


class LogSurvey(NamedTuple):
    """What was found."""

    transactions: int = 0
    """Whole ones, which SQLite will read."""
    unreadable: int = 0
    """Ends of transactions behind the first broken frame, which it will not."""
    header_broken: bool = False
    """Whether it will read none, although there are some."""

    @property
    def damaged(self) -> bool:
        """Whether acknowledged events are lost. One unreadable transaction may be one that never was.

        Each transaction is on the disk before the next begins, so a loss of power can tear the last one only.
        """
        return self.header_broken or self.unreadable > 1


def survey(path: str) -> LogSurvey:
    """Look at the log of the database at `path`; changes nothing.

    Raises:
        OSError: it cannot be read.

    """
    log = Path(f"{path}-wal")
    if not os.path.lexists(log):
        return LogSurvey()
    data = log.read_bytes()
    if len(data) < HEADER:
        return LogSurvey()
    magic, _format, page_size, _checkpoints = struct.unpack_from(">4I", data)
    order = ">" if magic & 1 else "<"
    size = FRAME_HEADER + page_size
    checksum = _checksum(data[: HEADER - 8], order, (0, 0))
    if magic & ~1 != _MAGIC or checksum != struct.unpack_from(">2I", data, HEADER - 8):
        return LogSurvey(header_broken=len(data) > HEADER)
    return _survey_frames(data, size, order, checksum)


def _survey_frames(data: bytes, size: int, order: str, checksum: tuple[int, int]) -> LogSurvey:
    salts = data[16:24]
    transactions = unreadable = 0
    whole = True
    for begin in range(HEADER, len(data) - size + 1, size):
        if data[begin + 8 : begin + 16] != salts:
            if whole:
                # Frames of an earlier round follow, all of them in the database; or a bit of these salts flipped.
                whole = False
            continue
        if whole:
            checksum = _checksum(data[begin : begin + 8], order, checksum)
            checksum = _checksum(data[begin + FRAME_HEADER : begin + size], order, checksum)
            whole = checksum == struct.unpack_from(">2I", data, begin + 16)
        is_commit = data[begin + 4 : begin + 8] != b"\0\0\0\0"
        transactions += is_commit and whole
        unreadable += is_commit and not whole
    return LogSurvey(transactions, unreadable)


def _checksum(data: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    first, second = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
