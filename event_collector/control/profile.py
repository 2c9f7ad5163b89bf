"""Profiles of running processes: their stacks, taken by py-spy or here, and how often each was seen."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Final

from event_collector.control.control_messages import FoldedStack, ProfilePage
from event_collector.control.py_spy import SpyFailed, find_spy, spy
from event_collector.watching.stack_socket import ProcessStack

MOST_STACKS: Final = 2000
"""Different stacks of a profile. Others are counted as one."""
MOST_FRAMES: Final = 200
IDLE: Final = "(no handler)"
OTHERS: Final = "(other stacks)"

_FRAME: Final = re.compile(r'  File "(.*)", line (\d+), in (.*)$')
_Key = tuple[int, str, tuple[str, ...]]


def take_profile(
    take: Callable[[], Iterable[ProcessStack]], seconds: float, interval: float, is_over: Callable[[], bool]
) -> ProfilePage:
    """Have stacks taken every `interval` seconds, for `seconds` or until `is_over`. It blocks.

    py-spy takes them if it can: `take` needs the GIL of the program, and a worker that answers.
    """
    began, program, note = monotonic(), find_spy(), "taken by the program itself"
    first = list(take()) if program is not None and seconds >= 1 else []
    if program is not None and first:
        try:
            stacks = spy(program, first, seconds, interval, is_over)
        except SpyFailed as exc:
            note = f"{note}, since py-spy could not: {exc}"
        else:
            return _page(monotonic() - began, _looks(stacks), stacks, "taken by py-spy")
    return _sample(take, max(min(seconds, 1.0), seconds - (monotonic() - began)), interval, is_over, note)


def _sample(
    take: Callable[[], Iterable[ProcessStack]], seconds: float, interval: float, is_over: Callable[[], bool], note: str
) -> ProfilePage:
    seen: Counter[_Key] = Counter()
    began, looks = monotonic(), 0
    while not is_over():
        looks += 1
        looked = monotonic()
        for stack in take():
            for subject, frames in folded(stack):
                key = stack.pid, subject, frames
                seen[key if key in seen or len(seen) < MOST_STACKS else (stack.pid, subject, (OTHERS,))] += 1
        now = monotonic()
        if now - began + interval > seconds:
            break
        sleep(max(0.001, looked + interval - now))
    stacks = [FoldedStack(pid, subject, list(frames), count) for (pid, subject, frames), count in seen.items()]
    return _page(monotonic() - began, looks, stacks, note)


def _page(seconds: float, looks: int, stacks: list[FoldedStack], note: str) -> ProfilePage:
    """Return a page of the most frequent stacks; others of a thread are counted as one."""
    stacks = sorted(stacks, key=lambda one: -one.count)
    others: Counter[tuple[int, str]] = Counter()
    for one in stacks[MOST_STACKS:]:
        others[one.pid, one.subject] += one.count
    kept = stacks[:MOST_STACKS] + [FoldedStack(*who, [OTHERS], count) for who, count in others.items()]
    return ProfilePage(seconds=seconds, looks=looks, stacks=kept, note=note)


def _looks(stacks: Iterable[FoldedStack]) -> int:
    """Return how often the thread was seen that was seen most often."""
    seen: Counter[tuple[int, str]] = Counter()
    for one in stacks:
        seen[one.pid, one.subject] += one.count
    return max(seen.values(), default=0)


def folded(stack: ProcessStack) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the stack of each thread in a text: its subject, and its frames, the outermost first."""
    subject, frames = stack.subject, list[str]()
    lines = stack.text.splitlines()
    for line in lines[1:]:
        if (frame := _FRAME.match(line)) is not None:
            path, number, function = frame.groups()
            frames.append(f"{function} ({'/'.join(path.split('/')[-2:])}:{number})")
        elif line and not line.startswith(" "):
            yield subject, tuple(frames[-MOST_FRAMES:])
            subject, frames = f"{stack.subject}, {line.rstrip(':')}", []
    yield subject, tuple(frames[-MOST_FRAMES:]) or (IDLE,)
