"""The replay of a recording: the lines of a monitor socket in a file, at the pace at which they came, or faster.

file: a snapshot, its details, the next snapshot ... --> Watched, as if they came from a socket
"""

import asyncio
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import msgspec

from event_collector.watching.details import decode_details
from event_collector.watching.snapshot import decode_snapshot
from event_collector.web.line_recorder import older_file
from event_collector.web.watched import Watched

SPEEDS: Final = (1, 5, 20)
LONGEST_PAUSE: Final = 2.0
"""Seconds that a replay waits for the next snapshot, however long the recorder had no connection."""
BREATH: Final = 100
"""Snapshots after which a long jump lets others have the event loop."""


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a visitor wants of a replay."""

    position: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Seconds from its begin."""
    speed: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    """Seconds in a second; 0 holds it."""


decode_move: Final = msgspec.json.Decoder(Move).decode


class RecordedLines:
    """The snapshots of a recording: their times, and where they are. A ValueError says that a file is none.

    The older file of a recording is taken with it. The last line may be cut, as a recorder that is killed leaves it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times: list[float] = []
        self._places: list[tuple[Path, int, int]] = []
        """The file of each snapshot, and the offsets of its begin and of the next one."""
        for part in (older_file(path), path):
            if part == path or part.exists():
                self._read(part)
        if not self.times:
            raise ValueError("it has no snapshot of a queue")

    def _read(self, path: Path) -> None:
        offsets, offset = list[int](), 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    if decode_details(line) is None:
                        self.times.append(decode_snapshot(line).time)
                        offsets.append(offset)
                except ValueError as exc:
                    raise ValueError(f"line {number} of {path.name}: {exc}") from None
                offset += len(line)
        self._places += [(path, *both) for both in pairwise([*offsets, offset])]

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        return f"<RecordedLines {self.path} of {len(self)} snapshots>"

    def lines(self, index: int) -> list[bytes]:
        """Return a snapshot, and the details that follow it."""
        path, begin, end = self._places[index]
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin).splitlines(keepends=True)


class Replay:
    """Plays a recording to `watched`. Its methods and `run` belong to one event loop."""

    def __init__(self, recording: RecordedLines, watched: Watched) -> None:
        self.recording, self._watched = recording, watched
        self.index = -1
        """Of the snapshot that shows."""
        self.speed = 1.0
        self.is_playing = True
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Replay at {self.position:.0f} of {self.length:.0f} s>"

    @property
    def length(self) -> float:
        """Seconds from the first snapshot to the last one."""
        return self.recording.times[-1] - self.recording.times[0]

    @property
    def position(self) -> float:
        """Seconds from the first snapshot to the one that shows."""
        return self.recording.times[max(0, self.index)] - self.recording.times[0]

    def play(self, speed: float) -> None:
        """Go on at a speed; 0 holds the replay."""
        self.is_playing = speed > 0
        self.speed = speed or self.speed
        self._changed.set()

    async def seek(self, position: float) -> None:
        """Show the snapshot of a position, in seconds, with the history up to it."""
        times = self.recording.times
        wanted = max(0, bisect_right(times, times[0] + position) - 1)
        if wanted < self.index:
            self._watched.forget()
            self.index = -1
        while self.index < wanted:
            self._show(self.index + 1)
            if self.index % BREATH == 0:
                await asyncio.sleep(0)
        self._changed.set()

    async def run(self) -> None:
        """Play until this is cancelled."""
        self._show(0)
        while True:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self._pause())
            except TimeoutError:
                self._show(self.index + 1)

    def _pause(self) -> float | None:
        """Return the seconds to the next snapshot; None if there is nothing to wait for."""
        times = self.recording.times
        if not self.is_playing or self.index + 1 >= len(times):
            return None
        return min(LONGEST_PAUSE, max(0.0, times[self.index + 1] - times[self.index])) / self.speed

    def _show(self, index: int) -> None:
        self.index = index
        for line in self.recording.lines(index):
            self._watched.take_line(line)
