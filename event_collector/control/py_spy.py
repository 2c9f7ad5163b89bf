"""py-spy, where it is installed: it samples processes from outside, also native code that holds the GIL.

It only reads the memory of a process (`--nonblocking`): it stops none, and cannot harm one. The system may forbid that.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final

from event_collector.control.control_messages import FoldedStack
from event_collector.watching.stack_socket import ProcessStack

PATIENCE: Final = 5.0
"""Seconds beyond those of the profile that it may take."""
MOST_PROCESSES: Final = 16
"""Processes that are sampled at once: each takes a py-spy of its own, which takes some CPU."""
HIGHEST_RATE: Final = 200
OWN: Final = f"{Path(__file__).name}:"
"""In the stack of the thread that waits for it."""
LOOK: Final = 0.05
"""Seconds between two looks at whether it has ended."""

_THREAD: Final = re.compile(r"thread \(([^)]*)\)(?:: (.*))?$")
_FRAME: Final = re.compile(r"(.*) \((.*):(\d+)\)$")


class SpyFailed(Exception):
    """py-spy is not there, or has sampled nothing. The text is one line for the user."""


def find_spy() -> str | None:
    """Return the path of py-spy; None if it is not installed."""
    return shutil.which("py-spy")


def spy(
    program: str, first: Sequence[ProcessStack], seconds: float, interval: float, is_over: Callable[[], bool]
) -> list[FoldedStack]:
    """Have py-spy sample processes, whole seconds long, or until `is_over`. It blocks.

    `first` are stacks of these processes, for the names of the processes and their threads.

    Raises:
        SpyFailed: it has sampled none of them.
    """
    pids = dict.fromkeys(stack.pid for stack in first)
    if len(pids) > MOST_PROCESSES:
        raise SpyFailed(f"it is not used for more than {MOST_PROCESSES} processes at once")
    rate = max(1, min(HIGHEST_RATE, round(1 / interval)))
    options = ["--format", "raw", "--full-filenames", "--threads", "--idle", "--nonblocking", "--rate", str(rate)]
    with TemporaryDirectory(prefix="event-collector-") as folder:
        files = {pid: Path(folder, f"{pid}.raw") for pid in pids}
        commands = [
            [program, "record", *options, "--duration", str(round(seconds)), "--pid", str(pid), "-o", str(file)]
            for pid, file in files.items()
        ]
        reason = _run(commands, Path(folder, "errors"), seconds + PATIENCE, is_over)
        found = [one for pid, file in files.items() for one in _read(pid, file, first)]
    if not found:
        raise SpyFailed(reason)
    return found


def _run(commands: Iterable[list[str]], errors: Path, bound: float, is_over: Callable[[], bool]) -> str:
    """Run commands at once, for `bound` seconds at most; return the reason if they have written nothing."""
    deadline, running = monotonic() + bound, list[subprocess.Popen[bytes]]()
    with errors.open("wb") as file:  # not a pipe, which a child of a command could hold open
        try:
            for command in commands:
                running.append(
                    subprocess.Popen(  # noqa: S603 - no shell, and nothing in it comes from outside
                        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file
                    )
                )
            while any(one.poll() is None for one in running):
                if is_over() or monotonic() >= deadline:
                    return f"it took longer than {bound:g} s"
                sleep(LOOK)
        except OSError as exc:
            return f"it cannot be run: {exc.strerror}"
        finally:
            for one in running:
                one.kill()
                one.wait()
    lines = [line.strip() for line in errors.read_text(errors="replace").splitlines() if line.strip()]
    found = next((line for line in lines if line.startswith("Error")), "it has written nothing")
    return found.removeprefix("Error: ")[:200]


def _read(pid: int, file: Path, first: Sequence[ProcessStack]) -> Iterator[FoldedStack]:
    """Yield the stacks in a file of py-spy: "thread (1): name;frame;frame 12" each."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    subjects = {stack.subject.partition("thread ")[2]: stack.subject for stack in first if stack.pid == pid}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if count.isdigit() and frames and OWN not in stack:
            yield FoldedStack(pid, _subject(thread, subjects), list(map(_frame, frames)), int(count))


def _subject(thread: str, subjects: Mapping[str, str]) -> str:
    """Return the name of a thread: in the program as its own sampler names it, in a worker with that of the worker."""
    found = _THREAD.match(thread)
    name = thread if found is None else found[2] or found[1]
    return subjects.get(name) or ", ".join(filter(None, (subjects.get("", ""), f"thread {name}")))


def _frame(text: str) -> str:
    found = _FRAME.match(text)
    return text if found is None else f"{found[1]} ({'/'.join(found[2].split('/')[-2:])}:{found[3]})"
