"""Whole programs with a queue, each in a session of its own, for the tests of how they end."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
HEAD = """
    import asyncio, os, signal, sys, threading, time
    from event_collector import Collector, CollectorQueue, Payload
    from tests.faults.handlers import act

    def say(*words):
        print(*words, file=sys.stderr, flush=True)
"""
TAIL = """
    if __name__ == "__main__":
        asyncio.run(main())
"""


@contextmanager
def program(folder: Path, text: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a program whose coroutine `main` is in `text`; kill what is left of its group at the end."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(HEAD) + textwrap.dedent(text) + textwrap.dedent(TAIL))
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers")]),
        "TMPDIR": str(folder / "tmp"),
    }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, str(path)], text=True, env=environment, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        for member in group_of(process.pid):
            member.kill()
        process.communicate()


def line_from(process: subprocess.Popen[str]) -> str:
    """Return the next line that the program says."""
    assert process.stderr is not None
    return process.stderr.readline().strip()


def group_of(leader: int) -> list[psutil.Process]:
    """All processes of the session that still run: workers have process groups of their own."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def is_gone_within(leader: int, seconds: float) -> bool:
    """Whether no process of the group runs any more, after `seconds` at the latest."""
    deadline = time.monotonic() + seconds
    while group_of(leader):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
