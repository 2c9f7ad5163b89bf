"""The recorder of a socket: writes its lines to a file, the older ones to another beside it, within a bound.

line --> FILE --(half of the bound, at a snapshot)--> FILE.1, in place of the one before
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from event_collector.watching.details import CollectorSettings, Details, decode_details, encode_details

OLDER: Final = ".1"
"""What the name of the older file has after that of the newer one."""

_SETTINGS: Final = b'"settings":[{'
"""In the details that have settings, which come once. In a text of the application the quotes would be escaped."""


def older_file(path: Path) -> Path:
    """Return the path of the older file beside a recording."""
    return path.with_name(path.name + OLDER)


class LineRecorder:
    """Writes lines to a new file. `on_end` gets the reason when no more can be written; later lines are dropped.

    Each file begins with a snapshot, after which the settings of the collectors are repeated: it can be replayed alone.
    Raises OSError if a file cannot be made, or if one of the two exists.
    """

    def __init__(self, path: str, limit: int, on_end: Callable[[str], None]) -> None:
        self._path, self._half, self._on_end = Path(path), limit // 2, on_end
        if os.path.lexists(older_file(self._path)):
            raise FileExistsError(str(older_file(self._path)))
        self._file = self._path.open("xb", buffering=0)
        self._size = 0
        self._settings: list[CollectorSettings] | None = None

    def __repr__(self) -> str:
        return f"<LineRecorder {self._path}, {self._size} bytes>"

    def write(self, line: bytes) -> None:
        """Write a line of the socket."""
        if self._file.closed:
            return
        details = decode_details(line) if _SETTINGS in line else None
        if details is not None:
            self._settings = details.settings
        try:
            if self._size + len(line) > self._half and self._size and not line.startswith(b'{"details"'):
                self._turn(line)
            else:
                self._add(line)
        except OSError as exc:
            self.close()
            self._on_end(exc.strerror or str(exc))

    def close(self) -> None:
        """Write nothing any more. Idempotent."""
        self._file.close()

    def _turn(self, snapshot: bytes) -> None:
        """Make this file the older one, in place of the one before, and begin another with a snapshot."""
        self._file.close()
        os.replace(self._path, older_file(self._path))
        self._file = self._path.open("xb", buffering=0)
        self._size = 0
        self._add(snapshot)
        if self._settings is not None:
            self._add(encode_details(replace(Details(), settings=self._settings)))

    def _add(self, line: bytes) -> None:
        self._size += len(line)
        rest = memoryview(line)
        while rest:
            rest = rest[self._file.write(rest) :]
