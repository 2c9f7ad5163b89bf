"""Ctrl-C and SIGTERM: the first drains within a bound and says what is not done, the second ends at once."""

import json
import os
import signal
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from .running import BOUND, lines_of, start, wait_until

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def working(tmp_path: Path, seconds: float, *options: str, target: str, more: int = 0) -> Popen[bytes]:
    """Start the command on one event that has begun when this returns, `more` behind it, its input still open."""
    trace = tmp_path / "begun"
    process = start(*options, target=target)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"n": 1, "seconds": seconds, "touch": str(trace)}).encode() + b"\n")
    process.stdin.write(b'{"n":2,"seconds":60}\n' * more)
    process.stdin.flush()
    wait_until(trace.exists)
    return process


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("number", "target"), [(signal.SIGINT, "rest"), (signal.SIGTERM, "toil")])
def test_first_signal_finishes_what_was_read(tmp_path: Path, number: signal.Signals, target: str, loop: str) -> None:
    """Reading ends although the input is open, the event under way is finished and written."""
    process = working(tmp_path, 0.5, "--loop", loop, "--drain-timeout", "3600", target=target)
    process.send_signal(number)
    process.wait(BOUND)  # communicate() would end the input
    output, errors = process.communicate()
    assert lines_of(output) == [{"id": 1, "ok": 1}]
    assert process.returncode == STATUS[number]
    assert f"stopped by {number.name} after line 1, all finished" in errors.decode()


@pytest.mark.parametrize(("number", "again"), [(signal.SIGINT, "press Ctrl-C again"), (signal.SIGTERM, "signal again")])
@pytest.mark.parametrize("target", ["rest", "block"])
def test_first_signal_is_answered_at_once(tmp_path: Path, number: signal.Signals, again: str, target: str) -> None:
    """While the event still runs, even if it blocks the loop, a line says how many are finished and how to stop now."""
    process = working(tmp_path, 60, "--drain-timeout", "3600", "--quiet", target=target)
    process.send_signal(number)
    assert process.stderr is not None
    assert process.stderr.readline().decode() == f"event-collector run: finishing 1 event; {again} to stop now\n"
    assert process.poll() is None


@pytest.mark.parametrize("target", ["rest", "toil"])
def test_what_is_not_done_within_the_bound_is_given_up_and_named(tmp_path: Path, target: str) -> None:
    """After --drain-timeout the rest is given up: an error line for each, and a word on standard error."""
    options = ("--drain-timeout", "0.2", "--consumers", "1", "--workers", "1")
    process = working(tmp_path, 60, *options, target=target, more=2)
    process.terminate()
    process.wait(BOUND / 2)
    output, errors = process.communicate()
    lines = lines_of(output)
    assert lines, errors
    assert {line["error"]["type"] for line in lines} == {"QueueShutDown"}
    assert process.returncode == 143
    assert f"not finished: {'line 1' if len(lines) == 1 else f'lines 1-{len(lines)}'}\n" in errors.decode()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("target", ["rest", "toil", "block"])
def test_second_signal_ends_at_once(tmp_path: Path, target: str, loop: str) -> None:
    """Nothing holds it up, not even a handler that blocks the event loop, and no process stays behind."""
    process = working(tmp_path, 60, "--loop", loop, target=target)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    # Signals of one number that wait together are one signal; a second number is told apart.
    wait_until(lambda: not _pending(process.pid, signal.SIGINT))
    process.send_signal(signal.SIGTERM)
    assert process.wait(BOUND / 2) == 143
    assert process.stderr is not None
    assert b"stopped at once after line" in process.stderr.read()
    wait_until(lambda: not any(map(_lives, children)))
    process.communicate(timeout=BOUND)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _pending(pid: int, number: signal.Signals) -> bool:
    """Return whether a signal has been sent and not been taken yet; False where that cannot be seen."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    masks = [line.split()[1] for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def test_signal_before_the_first_line_cancels_the_start(tmp_path: Path) -> None:
    """A queue that is still being made is given up at the first signal."""
    process = start(target="wait_for_ever")
    assert process.stderr is not None
    assert process.stderr.readline() == b"waiting\n"
    process.terminate()
    _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 143
    assert b"stopped before the first line was read" in errors


def test_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    """Started with SIGINT ignored, as a shell does for jobs in the background, it goes on."""
    process = start(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"1\n")
    process.stdin.flush()
    assert process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(b"2\n", timeout=BOUND)
    assert lines_of(output) == [{"id": 2, "ok": 2}]
    assert process.returncode == 0
