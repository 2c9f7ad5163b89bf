"""What is told on standard error: a bar on a terminal, plain lines elsewhere, a summary, or nothing."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from .running import BOUND, command, events, run, start, wait_until


def on_terminal(*arguments: str, target: str, stdin: bytes, stdout: int | None = None) -> tuple[str, bytes]:
    """Run with standard error at a terminal, standard output too if `stdout` is None; return what each got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments, target=target),
        stdin=subprocess.PIPE,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    if process.stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    output, _ = process.communicate(timeout=BOUND)
    assert process.returncode == 0
    return shown.decode(), output


def test_terminal_shows_a_bar_and_then_the_summary(tmp_path: Path) -> None:
    """The bar is drawn while events are processed, gone at the end, and the cursor is back."""
    pytest.importorskip("rich")
    shown, output = on_terminal(target="rest", stdin=b'{"n":1,"seconds":0.4}\n', stdout=subprocess.PIPE)
    assert output == b'{"id":1,"ok":1}\n'
    assert "0 events" in shown
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "1 event in" in shown[shown.rindex("\x1b[?25h") :]


def test_output_on_the_same_terminal_is_not_garbled() -> None:
    """With results and bar at one terminal, each line of output stands alone on its own."""
    pytest.importorskip("rich")
    stdin = b'{"n":1,"seconds":0.3}\n{"n":2,"seconds":0.6}\n'
    shown, _ = on_terminal(target="rest", stdin=stdin)
    for n in (1, 2):
        before, found, after = shown.partition(f'{{"id":{n},"ok":{n}}}')
        assert found
        assert after.startswith("\r\n")
        assert before.endswith(("\x1b[2K", "\n", "\x1b[?25h", "\r")), before[-20:]


def test_without_rich_a_terminal_gets_plain_lines() -> None:
    """Where rich is not installed the progress is told in lines."""
    hidden = "import sys; sys.modules['rich'] = None; from event_collector.cli import main; sys.exit(main())"
    arguments = command("--progress-interval", "0.1", target="rest")[3:]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", hidden, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    process.communicate(b'{"n":1,"seconds":0.5}\n', timeout=BOUND)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert process.returncode == 0
    assert "0 events, 0 errors" in shown
    assert "\x1b[?25l" not in shown


def test_pipe_gets_a_line_now_and_then_and_the_summary(tmp_path: Path) -> None:
    """Without a terminal there are lines at the given interval, with the share of a file that is done."""
    file = tmp_path / "input.ndjson"
    file.write_text('{"n":1,"seconds":0}\n{"n":2,"seconds":0.5}\n')
    done = run(str(file), "--progress-interval", "0.1", target="rest")
    first, *others = done.stderr.splitlines()
    assert first.startswith("1 event, 0 errors, ")
    assert first.endswith("%")
    assert any(line.startswith("2 events in ") and line.endswith(", 0 errors") for line in others)
    assert others[-1].startswith("  coroutine: busy for 0.5")


def test_short_run_tells_only_its_summary() -> None:
    """Before the first interval is over there is no progress to tell; every mode has its line."""
    done = run(target="pair", stdin=events(3))
    lines = done.stderr.splitlines()
    assert lines[0].startswith("3 events in ")
    assert [line.split(":")[0] for line in lines[1:]] == ["  process", "  coroutine"]


def test_quiet_says_nothing_unless_something_goes_wrong() -> None:
    """--quiet leaves standard error empty, errors of events being in the output; an early end is still told."""
    assert run("--quiet", target="misbehave", stdin='"raise"\n').stderr == ""
    process = start("-q", "--drain-timeout", "0.1", target="rest")
    assert process.stdin is not None
    process.stdin.write(b'{"n":1,"seconds":60}\n')
    process.stdin.flush()
    wait_until(lambda: _handles_signals(process.pid))
    process.terminate()
    _, errors = process.communicate(timeout=BOUND)
    assert b"stopped" in errors


def _handles_signals(pid: int) -> bool:
    caught = next(
        line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")
    )
    return bool(int(caught, 16) >> 14 & 1)  # SIGTERM
