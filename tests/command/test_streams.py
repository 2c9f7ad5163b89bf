"""What goes into the command and what comes out: order, errors, bounds, pipes."""

import json
import os
import select
import subprocess
from pathlib import Path

import psutil
import pytest

from .running import BOUND, events, lines_of, run, start, wait_until


def test_one_line_of_output_for_each_line_of_input_in_its_order() -> None:
    """Ids are line numbers, empty lines are skipped, a last line needs no newline."""
    done = run(stdin='{"n":1}\n\n  \r\n[2]\r\n"three"\nnull')
    assert lines_of(done.stdout) == [
        {"id": 1, "ok": {"n": 1}},
        {"id": 4, "ok": [2]},
        {"id": 5, "ok": "three"},
        {"id": 6, "ok": None},
    ]
    assert done.returncode == 0


def test_empty_input_gives_empty_output() -> None:
    """Nothing in, nothing out, and that is a success."""
    done = run(stdin="")
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 events" in done.stderr


def test_file_is_read_as_standard_input_is(tmp_path: Path) -> None:
    """The input may be a path, before options or after them, or '-'."""
    file = tmp_path / "input.ndjson"
    file.write_text(events(3))
    expected = [{"id": n, "ok": 2 * n} for n in (1, 2, 3)]
    for arguments in ([str(file), "--quiet"], ["--quiet", str(file)]):
        assert lines_of(run(*arguments, target="double").stdout) == expected
    assert lines_of(run("-", "-q", target="double", stdin=events(3)).stdout) == expected


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_results_come_in_input_order_or_as_they_are_finished(loop: str) -> None:
    """A slow event holds later results back, unless --unordered lets them pass."""
    stdin = '{"n":1,"seconds":0.3}\n{"n":2,"seconds":0}\n'
    ordered = run("--loop", loop, target="rest", stdin=stdin)
    unordered = run("--loop", loop, "--unordered", target="rest", stdin=stdin)
    assert [line["id"] for line in lines_of(ordered.stdout)] == [1, 2]
    assert [line["id"] for line in lines_of(unordered.stdout)] == [2, 1]


def test_bad_lines_are_errors_with_their_numbers_and_the_rest_goes_on() -> None:
    """Not JSON, not text, of the wrong type, too long: each an error line, and the events fail the command."""
    stdin = b'{"n":1}\nnope\n{"n":"x"}\n{"n":\n{"n":' + b"9" * 300 + b'}\n{"n":6}'
    done = run("--max-line-bytes", "200", target="typed", stdin=stdin)
    answers = {line["id"]: line.get("ok") or line["error"]["type"] for line in lines_of(done.stdout)}
    assert answers == {
        1: ["Order", 1], 2: "InvalidJSON", 3: "PayloadTypeError", 4: "InvalidJSON", 5: "LineTooLong", 6: ["Order", 6],
    }  # fmt: skip
    assert done.returncode == 1
    assert "6 events" in done.stderr
    assert "4 errors" in done.stderr


def test_every_way_to_fail_is_an_error_line() -> None:
    """Raised or returned, and values that JSON cannot hold; --traceback adds where it happened."""
    ways = ["raise", "error", "text", "object", "surrogate", "set", "fine"]
    done = run("--traceback", target="misbehave", stdin="\n".join(map(json.dumps, ways)))
    kinds = [line["error"]["type"] if "error" in line else line["ok"] for line in lines_of(done.stdout)]
    assert kinds == ["ValueError", "Error", "Error", "EncodeError", "ValueError", "Error", "fine"]
    assert 'raise ValueError("no good")' in lines_of(done.stdout)[0]["error"]["traceback"]


def test_crash_of_a_worker_fails_one_event() -> None:
    """The event in the worker that died is an error, the others are answered."""
    done = run("--workers", "1", target="crash", stdin='1\n"crash"\n3\n')
    first, crashed, third = lines_of(done.stdout)
    assert (first["ok"], crashed["error"]["type"], third["ok"]) == (1, "WorkerCrashed", 3)
    assert done.returncode == 1


def test_an_adaptive_handler_begins_here() -> None:
    """--mode adaptive takes plain handlers too, and has the queue decide where they run."""
    done = run("--mode", "adaptive", target="where", stdin=events(4))
    assert len({line["ok"] for line in lines_of(done.stdout)}) == 1
    assert "adaptive: busy for" in done.stderr


def test_modes_workers_and_timeout_are_options() -> None:
    """--mode says where the handler runs, --workers in how many processes, --timeout for how long."""
    here = {line["ok"] for line in lines_of(run("--mode", "thread", target="where", stdin=events(4)).stdout)}
    away = run("--workers", "1", "--start-method", "spawn", target="where", stdin=events(4))
    there = {line["ok"] for line in lines_of(away.stdout)}
    assert (len(here), len(there)) == (1, 1)
    assert here != there
    assert "process: busy for" in away.stderr
    assert "1 worker" in away.stderr
    late = run("--timeout", "0.05", target="rest", stdin='{"n":1,"seconds":60}')
    assert lines_of(late.stdout)[0]["error"]["type"] == "HandlerTimeout"


def test_consumers_bound_what_runs_at_once(tmp_path: Path) -> None:
    """With --consumers 1 the second handler begins when the first is done."""
    touch = [str(tmp_path / name) for name in ("first", "second")]
    process = start("--consumers", "1", "--drain-timeout", "0.1", target="rest")
    assert process.stdin is not None
    for path in touch:
        process.stdin.write(json.dumps({"n": 1, "seconds": 60, "touch": path}).encode() + b"\n")
    process.stdin.close()
    process.stdin = None
    wait_until(lambda: os.path.exists(touch[0]))
    process.terminate()
    process.communicate(timeout=BOUND)
    assert not os.path.exists(touch[1])


def test_what_handlers_print_stays_out_of_the_output() -> None:
    """It goes to standard error, from workers too, and handlers find nothing on standard input."""
    done = run(target="chat", stdin="1\n2\n")
    assert lines_of(done.stdout) == [{"id": 1, "ok": ""}, {"id": 2, "ok": ""}]
    assert done.stderr.count("printed by a coroutine") == 2
    done = run(target="chat_in_worker", stdin="1\n")
    assert lines_of(done.stdout) == [{"id": 1, "ok": None}]
    assert "printed by a worker" in done.stderr


@pytest.mark.parametrize("options", [(), ("--unordered",)])
def test_fail_fast_ends_with_the_first_failed_line(options: tuple[str, ...]) -> None:
    """The failed line is the last one written, and what else was under way is named as not finished."""
    stdin = "".join(f"{n}\n" for n in range(1, 50)) + '"raise"\n' + '"fine"\n' * 5000
    done = run("--fail-fast", *options, target="misbehave", stdin=stdin)
    lines = lines_of(done.stdout)
    assert [line["id"] for line in lines] == list(range(1, 51))
    assert lines[-1]["error"]["type"] == "ValueError"
    assert done.returncode == 1
    assert "not finished: lines 51-" in done.stderr


@pytest.mark.parametrize("target", ["echo", "double"])
def test_closed_pipe_ends_it_quietly(target: str) -> None:
    """When the reader has enough, the command ends soon, without a word, in success."""
    process = start(target=target)
    assert process.stdin is not None
    assert process.stdout is not None
    feeder = subprocess.Popen(["yes", '{"n":1}'], stdout=process.stdin)
    process.stdin.close()
    process.stdin = None
    try:
        assert json.loads(process.stdout.readline())["id"] == 1
        process.stdout.close()
        assert process.wait(BOUND) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
    finally:
        feeder.kill()
        feeder.wait()


def test_output_that_cannot_be_written_is_told() -> None:
    """A full disk ends the command with status 1 and the reason."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        process = start("--quiet", stdout=full)
        _, errors = process.communicate(b"1\n", timeout=BOUND)
    assert process.returncode == 1
    assert b"cannot write the output: No space left on device" in errors


def test_results_leave_while_the_input_is_still_open() -> None:
    """A line typed into a pipe is answered at once, not when more has come."""
    process = start()
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for n in (1, 2):
            process.stdin.write(b"%d\n" % n)
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"id": n, "ok": n}


def test_no_more_is_read_than_can_be_written() -> None:
    """When nobody reads the output, the command stops reading an endless input after a bounded amount."""
    process = start("--quiet")
    assert process.stdin is not None
    line, taken = json.dumps("x" * 10_000).encode() + b"\n", 0
    os.set_blocking(process.stdin.fileno(), False)
    try:
        # It takes a while to start: only when it has read some does a silence mean that it has stopped.
        while select.select([], [process.stdin], [], 1.0 if taken > 1024 * 1024 else BOUND)[1]:
            taken += os.write(process.stdin.fileno(), line * 100)
            assert taken < 128 * 1024 * 1024, "it reads on and on"
        assert taken > 1024 * 1024
        assert psutil.Process(process.pid).memory_info().rss < 200 * 1024 * 1024
    finally:
        process.kill()
        process.communicate(timeout=BOUND)


@pytest.mark.parametrize("target", ["echo", "double"])
def test_memory_does_not_grow_with_the_length_of_the_input(target: str, tmp_path: Path) -> None:
    """Ten times the input takes hardly more memory."""
    peaks = []
    for number in (3_000, 30_000):
        file = tmp_path / f"{number}.ndjson"
        file.write_text(events(number))
        process = start(str(file), "--quiet", target=target, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.communicate()
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < peaks[0] * 1.5
