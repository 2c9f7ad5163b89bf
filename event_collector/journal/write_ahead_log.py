"""Survey of a journal's write-ahead log before SQLite reads it.

SQLite stops at the first frame with a wrong checksum and reports nothing. That is right for the torn end of a
transaction that was never acknowledged, and wrong for a flipped bit before acknowledged transactions. Format:
https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

HEADER: Final = 32
FRAME_HEADER: Final = 24
_MAGIC: Final = 0x377F0682
"""The last bit is the byte order of the checksums."""


class LogSurvey(NamedTuple):
    """Transactions in a write-ahead log."""

    transactions: int = 0
    """Number of complete transactions, which SQLite reads."""
    unreadable: int = 0
    """Number of commits after the first broken frame, which SQLite ignores."""
    is_header_broken: bool = False
    """Whether SQLite ignores all frames."""

    @property
    def is_damaged(self) -> bool:
        """Whether acknowledged events are lost. A single unreadable transaction may never have been acknowledged.

        Each transaction is on the disk before the next begins, so a loss of power can tear the last one only.
        """
        return self.is_header_broken or self.unreadable > 1


def survey(path: str) -> LogSurvey:
    """Read the log of the database at `path`; changes nothing. Raises OSError if the log cannot be read."""
    log = Path(f"{path}-wal")
    data = log.read_bytes() if os.path.lexists(log) else b""
    if len(data) < HEADER:
        return LogSurvey()
    magic, _format, page_size, _checkpoints = struct.unpack_from(">4I", data)
    order = ">" if magic & 1 else "<"
    checksum = _checksum(data[: HEADER - 8], order, (0, 0))
    if magic & ~1 != _MAGIC or checksum != struct.unpack_from(">2I", data, HEADER - 8):
        return LogSurvey(is_header_broken=len(data) > HEADER)
    return _survey_frames(data, FRAME_HEADER + page_size, order, checksum)


def _survey_frames(data: bytes, size: int, order: str, checksum: tuple[int, int]) -> LogSurvey:
    salts = data[16:24]
    transactions = unreadable = 0
    is_whole = True
    for begin in range(HEADER, len(data) - size + 1, size):
        if data[begin + 8 : begin + 16] != salts:
            # Frames of an earlier round, which are all in the database; or a bit of these salts has flipped.
            is_whole = False
            continue
        if is_whole:
            checksum = _checksum(data[begin : begin + 8], order, checksum)
            checksum = _checksum(data[begin + FRAME_HEADER : begin + size], order, checksum)
            is_whole = checksum == struct.unpack_from(">2I", data, begin + 16)
        is_commit = data[begin + 4 : begin + 8] != b"\0\0\0\0"
        transactions += is_commit and is_whole
        unreadable += is_commit and not is_whole
    return LogSurvey(transactions, unreadable)


def _checksum(data: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    first, second = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
