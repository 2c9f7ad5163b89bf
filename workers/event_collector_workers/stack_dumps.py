"""Dumps of stacks: what faulthandler writes, as texts in the form of tracebacks. Their size is bounded."""

import re
import traceback
from typing import Final, NamedTuple

LONGEST: Final = 16_384
"""Maximum number of characters of a text. What is beyond is left out: the stack that matters most comes first."""

_FATAL: Final = b"Fatal Python error"
_HEADER: Final = re.compile(r"(Current thread|Thread|Stack)\b(.*)\(most recent call first\):$")
_FRAME: Final = re.compile(r'  File "(.*)", line (\d+) in (.*)$')
_LAST_LINES: Final = re.compile(rb"( in <module>|\b_bootstrap|\n  \.\.\.|<no Python frame>)\n$")

_MOST_FRAMES: Final = 100  # of one thread; Python 3.13 does not mark that there are more

_hidden: Final[set[str]] = set()
_skipped: Final[set[str]] = set()


def hide_files(*paths: str) -> None:
    """Leave the frames of these files, and older ones, out of stacks; each module that runs jobs registers itself."""
    _hidden.update(paths)


def skip_files(*paths: str) -> None:
    """Leave the frames of these files out of stacks: those of modules that write stacks, which are the newest."""
    _skipped.update(paths)


class StackDump(NamedTuple):
    """The stacks of a process."""

    text: str = ""
    """In the form of a traceback, the stack that matters most first; empty if there is none."""
    place: str = ""
    """Where that stack ends, such as "inner() at /app/handlers.py:20"."""


class _Thread(NamedTuple):
    title: str
    is_current: bool
    frames: list[traceback.FrameSummary]  # the oldest first
    has_job: bool  # whether older frames, of modules that run jobs, were left out


def read_dump(data: bytes) -> StackDump:
    """Return the stacks of a dump without the frames that run jobs, and without the threads that do nothing else."""
    threads = _threads(data.decode(errors="replace"))
    shown = sorted((thread for thread in threads if thread.frames), key=_unimportance)
    if not shown:
        return StackDump()
    first, *others = shown
    parts = ["Traceback (most recent call last):\n", *_lines(first)]
    for thread in others:
        parts += [f"{thread.title}:\n", *_lines(thread)]
    last = first.frames[-1]
    return StackDump(_bounded("".join(parts)), f"{last.name}() at {last.filename}:{last.lineno}")


def crash_in(data: bytes) -> bytes:
    """Return the dump of a crash within the data; empty if there is none. Dumps that were asked for may precede it."""
    at = data.rfind(_FATAL)
    return data[at:] if at >= 0 else b""


def is_complete(data: bytes) -> bool:
    """Return whether a dump may have ended: with the last frame of a thread, and the main thread comes last."""
    if _LAST_LINES.search(data) is not None:
        return True
    *_, frames = data.rpartition(b"(most recent call first):\n")
    return frames.endswith(b"\n") and frames.count(b"\n") >= _MOST_FRAMES


def _unimportance(thread: _Thread) -> tuple[bool, bool]:
    return not (thread.is_current and thread.frames), not thread.has_job


def _threads(text: str) -> list[_Thread]:
    threads: list[tuple[str, bool, list[traceback.FrameSummary]]] = []
    for line in text.splitlines():
        if (header := _HEADER.match(line)) is not None:
            kind, name = header.groups()
            threads.append((f"Thread {name.strip()}".strip(), kind == "Current thread", []))
        elif threads and (frame := _FRAME.match(line)) is not None:
            filename, number, function = frame.groups()
            if filename in _skipped:
                continue
            threads[-1][2].insert(0, traceback.FrameSummary(filename, int(number), function, lookup_line=False))
    return [_shown(title, frames, is_current=current) for title, current, frames in threads]


def _shown(title: str, frames: list[traceback.FrameSummary], *, is_current: bool) -> _Thread:
    """Leave out the frames up to those that run jobs, which are the first ones of hidden files."""
    count = len(frames)
    begin = next((at for at, frame in enumerate(frames) if frame.filename in _hidden), count)
    if begin == count:
        return _Thread(title, is_current, frames, False)
    end = next((at for at in range(begin, count) if frames[at].filename not in _hidden), count)
    return _Thread(title, is_current, frames[end:], end < count)


def _lines(thread: _Thread) -> list[str]:
    return traceback.StackSummary.from_list(thread.frames).format()


def _bounded(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n[... {len(text) - LONGEST} characters ...]\n"
