"""The command as its users meet it: a process with files, pipes and signals."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HANDLERS = Path(__file__).with_name("sample_targets.py")
BOUND = 30.0
"""Seconds after which a wait counts as a hang."""


def command(*arguments: str, target: str = "echo") -> list[str]:
    """Return the command line that runs a handler of sample_targets.py."""
    return [sys.executable, "-m", "event_collector", "run", f"{HANDLERS}:{target}", *arguments]


def run(
    *arguments: str, target: str = "echo", stdin: str | bytes = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with `stdin` as its input."""
    text = stdin.decode("latin-1") if isinstance(stdin, bytes) else stdin
    return subprocess.run(
        command(*arguments, target=target),
        input=text,
        capture_output=True,
        encoding="latin-1" if isinstance(stdin, bytes) else "utf-8",
        timeout=BOUND,
        check=False,
        **options,
    )


def start(*arguments: str, target: str = "echo", **options: Any) -> "subprocess.Popen[bytes]":
    """Start it with pipes for its input, output and errors, unless told otherwise."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command(*arguments, target=target), **(pipes | options))
    _started.append(process)
    return process


_started: list["subprocess.Popen[bytes]"] = []


def reap() -> None:
    """End what start() has started."""
    while _started:
        process = _started.pop()
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait(BOUND)


def lines_of(output: str | bytes) -> list[Any]:
    """Return the lines of output, read as JSON."""
    return [json.loads(line) for line in output.splitlines()]


def events(number: int, **fields: Any) -> str:
    """Return input of that many lines: {"n": 1, ...} and so on."""
    return "".join(json.dumps({"n": n, **fields}) + "\n" for n in range(1, number + 1))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, up to BOUND."""
    deadline = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.01)
