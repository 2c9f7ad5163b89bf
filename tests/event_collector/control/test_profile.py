"""Profiles: py-spy takes them where it is there and may; in any other case the program does, and says why."""

import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from event_collector.control import py_spy
from event_collector.control.control_messages import FoldedStack, ProfilePage
from event_collector.control.profile import MOST_STACKS, OTHERS, take_profile
from event_collector.watching.stack_socket import ProcessStack

TRACE = 'Traceback (most recent call last):\n  File "/app/shop/handlers.py", line 6, in fetch\n    pay()\n'
STACKS = [
    ProcessStack(1, "event loop, thread MainThread", TRACE),
    ProcessStack(1, "thread idler", TRACE),
    ProcessStack(2, "worker 0", TRACE),
]
RAW = """\
thread (7): MainThread;<module> (/app/main.py:3);spin (/app/shop/busy.py:4) 40
thread (8): idler;sleep (/usr/lib/python3/threading.py:5) 41
thread (9);wait (<unknown>) 2
no stack
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH where py-spy could be found, with the system's own."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def write_spy(folder: Path, script: str) -> None:
    """Have a shell script be py-spy; its last argument is the file to write."""
    path = folder / "py-spy"
    path.write_text(f'#!/bin/sh\necho "$$" >> {folder}/started\nfor last; do true; done\n{script}\n')
    path.chmod(0o755)


def profile(seconds: float = 1.0, stacks: list[ProcessStack] = STACKS) -> ProfilePage:
    return take_profile(lambda: stacks, seconds, 0.05, lambda: False)


def test_py_spy_takes_a_profile_where_it_is_installed(folder: Path) -> None:
    """Its stacks have the names that the program gives to threads and workers, and frames in the same form."""
    write_spy(folder, f'cat > "$last" << "end"\n{RAW}end')
    page = profile(3.0)
    assert (page.note, page.looks) == ("taken by py-spy", 41)
    spin = ["<module> (app/main.py:3)", "spin (shop/busy.py:4)"]
    assert [one for one in page.stacks if one.pid == 1] == [
        FoldedStack(1, "thread idler", ["sleep (python3/threading.py:5)"], 41),
        FoldedStack(1, "event loop, thread MainThread", spin, 40),
        FoldedStack(1, "thread 9", ["wait (<unknown>)"], 2),
    ]
    assert FoldedStack(2, "worker 0, thread MainThread", spin, 40) in page.stacks
    assert len((folder / "started").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('echo "Error: Permission Denied: Try again as root" >&2; exit 1', "Permission Denied: Try again as root"),
        ("exit 0", "it has written nothing"),
    ],
)
def test_the_program_takes_the_profile_if_py_spy_cannot(folder: Path, script: str, reason: str) -> None:
    """As the system may not permit it. The page has the reason."""
    write_spy(folder, script)
    page = profile()
    assert page.note == f"taken by the program itself, since py-spy could not: {reason}"
    assert {(one.subject, *one.frames) for one in page.stacks} == {
        (stack.subject, "fetch (shop/handlers.py:6)") for stack in STACKS
    }


def test_without_py_spy_the_program_takes_the_profile(folder: Path) -> None:
    """Nothing is missing then. Neither is py-spy asked for less than a second, which it cannot measure."""
    assert profile().note == "taken by the program itself"
    write_spy(folder, "exit 0")
    assert profile(0.1).note == "taken by the program itself"
    assert not (folder / "started").exists()


def test_a_py_spy_that_hangs_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is bounded, also if a child of it lives on; so is the number of processes that it looks at."""
    monkeypatch.setattr(py_spy, "PATIENCE", 0.2)
    write_spy(folder, "sleep 30 & sleep 30")
    began = time.monotonic()
    page = profile()
    assert "it took longer than 1.2 s" in page.note
    assert page.stacks
    assert time.monotonic() - began < 20
    for pid in (folder / "started").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
    many = [ProcessStack(pid, "worker", TRACE) for pid in range(py_spy.MOST_PROCESSES + 1)]
    assert "more than 16 processes" in profile(1.0, many).note


def test_the_end_of_the_queue_ends_py_spy(folder: Path) -> None:
    """No profile holds up an end."""
    write_spy(folder, "exec sleep 30")
    is_over = threading.Event()
    threading.Timer(0.3, is_over.set).start()
    began = time.monotonic()
    take_profile(lambda: STACKS, 30.0, 0.05, is_over.is_set)
    assert time.monotonic() - began < 20


def test_a_profile_is_bounded(folder: Path) -> None:
    """The most frequent stacks are kept, and the others counted as one for each thread."""
    lines = "\n".join(f"thread (1): MainThread;f{number} (/a/b.py:{number}) {number + 1}" for number in range(2500))
    (folder / "raw").write_text(lines)
    write_spy(folder, f'cat {folder}/raw > "$last"')
    page = profile(1.0, STACKS[:1])
    assert len(page.stacks) == MOST_STACKS + 1
    assert page.stacks[-1] == FoldedStack(1, STACKS[0].subject, [OTHERS], sum(range(1, 501)))
    assert page.looks == sum(range(1, 2501))


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that computes; its process id."""
    code = "import threading\ndef spin():\n    while True:\n        sum(range(1000))\nprint(flush=True)\nspin()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_the_real_py_spy_sees_a_process(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output is what this program reads. The process goes on."""
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    if shutil.which("py-spy") is None:
        pytest.skip("needs py-spy")
    page = profile(1.0, [ProcessStack(busy, "worker 0", TRACE)])
    if "ermission" in page.note:
        pytest.skip(f"the system forbids it: {page.note}")
    assert page.note == "taken by py-spy"
    spinning = [one for one in page.stacks if any(frame.startswith("spin (") for frame in one.frames)]
    assert {(one.pid, one.subject) for one in spinning} == {(busy, "worker 0, thread MainThread")}
    os.kill(busy, 0)
