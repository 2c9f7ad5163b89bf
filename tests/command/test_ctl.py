"""`event-collector ctl`: acts on a program in another process, over its control socket."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from event_collector.command.program import run_command
from event_collector.watching.snapshot import Snapshot, decode_snapshot
from event_collector.watching.socket_lines import SocketLines

from .running import BOUND, reap, start


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[str]:
    """Run a program with a control socket, which waits for its input, and return the path of its monitor socket."""
    path = tmp_path / "s"
    start("-", "--monitor", str(path), "--control", "--workers", "1")
    deadline = time.monotonic() + BOUND
    while not os.path.exists(f"{path}.control") or snapshot(path).state != "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield str(path)
    reap()


def snapshot(path: Path | str) -> Snapshot:
    lines = SocketLines(str(path), BOUND, 1_000_000)
    try:
        return decode_snapshot(lines.next(BOUND) or b"")
    finally:
        lines.close()


def ctl(path: str, *words: str) -> tuple[int, str]:
    """Run the command in another process, and return its exit status and what it wrote."""
    command = [sys.executable, "-m", "event_collector", "ctl", path, *words]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND)
    return finished.returncode, finished.stdout + finished.stderr


def test_a_program_is_paused_resized_and_resumed(monitor: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each action reports what it did, in words or as JSON; its exit status tells whether it was done."""
    assert ctl(monitor, "pause", "--dry-run") == (
        0, "would pause the queue; waiting: 0 events; in handlers, to go on: 0 events\n",
    )  # fmt: skip
    assert ctl(monitor, "pause") == (0, "paused the queue; waiting: 0 events\n")
    deadline = time.monotonic() + BOUND
    while not snapshot(monitor).is_paused:  # a viewer may get a snapshot that is a second old
        assert time.monotonic() < deadline
        time.sleep(0.05)

    def run(*words: str) -> tuple[int, str]:
        """Do the same in this process, which is quicker."""
        status = run_command(["ctl", monitor, *words])
        out, err = capsys.readouterr()
        return status, out + err

    status, text = run("state")
    assert (status, text.splitlines()[1]) == (0, "paused: the queue")
    status, text = run("resize", "--consumers", "7", "--json")
    answer = json.loads(text)
    assert (status, answer["answer"], answer["count"]) == (0, "done", 1)
    assert run("resume") == (0, "resumed the queue; waiting: 0 events\n")
    assert run("dead-letters", "list") == (0, "0 dead letters\n")
    assert run("dead-letters", "replay", "--all") == (0, "replayed 0 dead letters\n")
    assert run("cancel", "77")[0] == 1
    assert run("pause", "nobody") == (
        1, "event-collector ctl: there is no collector 'nobody': this queue has 'echo'\n",
    )  # fmt: skip
    status, text = run("stack")
    assert (status, "event loop, thread MainThread" in text) == (0, True)
    status, text = run("profile", "--seconds", "0.1")
    assert status == 0
    assert all(line.rpartition(" ")[2].isdecimal() and ";" in line for line in text.splitlines())
    assert all(max(map(len, one.splitlines())) <= 80 for one in [ctl("x", "--help")[1]])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["resize"], "say what to resize"),
        (["dead-letters", "drop"], "say which"),
        (["dead-letters", "drop", "--all", "--id", "1"], "say which"),
        (["cancel", "x"], "takes a whole number, not 'x'"),
        (["profile", "--seconds", "1000"], "<= 60"),
        (["launch"], "invalid choice"),
        ([], "required"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit status 2."""
    try:
        status = run_command(["ctl", "/nowhere", *words])
    except SystemExit as end:
        status = int(end.code or 0)
    text = capsys.readouterr().err
    assert (status, text.count("\n")) == (2, 1)
    assert reason in text


def test_a_queue_without_control_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path where nothing is, and one where there is only a monitor."""
    assert run_command(["ctl", str(tmp_path / "s"), "pause"]) == 1
    assert "there is no socket" in capsys.readouterr().err
    (tmp_path / "s").touch()
    assert run_command(["ctl", str(tmp_path / "s"), "pause"]) == 1
    assert "control=True" in capsys.readouterr().err


def test_a_run_can_be_drained(tmp_path: Path) -> None:
    """It reads no more, finishes what it has, and ends; the one who asked gets an answer."""
    path = tmp_path / "s"
    process = start("-", "--monitor", str(path), "--control", target="echo")
    deadline = time.monotonic() + BOUND
    while not os.path.exists(f"{path}.control") or snapshot(path).state != "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert ctl(str(path), "drain") == (0, "the shutdown has begun; to finish: 0 accepted events\n")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b'{"a": 1}\n')
    process.stdin.close()
    process.wait(BOUND)
    assert b"stopped reading" in process.stderr.read()
    reap()
