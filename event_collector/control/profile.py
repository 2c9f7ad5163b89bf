"""Profiles of running processes: their stacks, taken again and again, and how often each was seen."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Final

from event_collector.control.control_messages import FoldedStack, ProfilePage
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
    """Take stacks every `interval` seconds, for `seconds` or until `is_over`. It blocks."""
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
    stacks = [FoldedStack(pid, subject, list(frames), count) for (pid, subject, frames), count in seen.most_common()]
    return ProfilePage(seconds=monotonic() - began, looks=looks, stacks=stacks)


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
