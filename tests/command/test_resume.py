"""`event-collector run --journal` continues an input where the last run stopped, however that was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .running import BOUND, lines_of, wait_until

HANDLERS = '''
import asyncio, os, signal
from pathlib import Path


async def work(value: int) -> int:
    """End the program, or wait without end, at the values that the environment names."""
    if value == int(os.environ.get("BOMB", "-1")):
        os.kill(os.getpid(), signal.SIGKILL)
    if value == int(os.environ.get("STUCK", "-1")):
        Path("stuck").touch()
        await asyncio.sleep(1000)
    await asyncio.sleep(value % 5 * 0.001)
    if value < 0:
        raise ValueError(value)
    return value * 10
'''


ORDERS = """
import os, signal
import msgspec


class Order(msgspec.Struct):
    n: int


async def work(order: Order) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Runs:
    """Runs of one handler with one journal in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.input = folder, folder / "in.ndjson"
        (folder / "handlers.py").write_text(HANDLERS)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str, stdin: Any = subprocess.DEVNULL, **environment: int) -> "subprocess.Popen[bytes]":
        arguments = [sys.executable, "-m", "event_collector", "run", "handlers.py:work", "--journal", "j", *options]
        process = subprocess.Popen(
            arguments, cwd=self.folder, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **{k: str(v) for k, v in environment.items()}},
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, *options: str, stdin: str | None = None, **environment: int) -> tuple[int, list[Any], str]:
        """Run to the end; return the status, the whole lines of the output, and the errors."""
        process = self.start(*options, stdin=subprocess.PIPE, **environment)
        output, errors = process.communicate((stdin or "").encode(), timeout=BOUND)
        return process.returncode, whole_lines(output), errors.decode()

    def file(self, *options: str, **environment: int) -> tuple[int, list[Any], str]:
        return self.run("in.ndjson", *options, stdin=None, **environment)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path)
    yield runs
    for process in runs.processes:
        process.kill()
        process.communicate()


def ids(lines: list[Any]) -> list[int]:
    return [line["id"] for line in lines]


def whole_lines(output: bytes) -> list[Any]:
    """Return the lines of the output of a process that was killed, which may have torn the last one."""
    return lines_of(b"".join(line for line in output.splitlines(True) if line.endswith(b"\n")))


def fresh(lines: list[Any]) -> list[int]:
    """Return the numbers of the lines that were read in this run."""
    return [line["id"] for line in lines if "replayed" not in line]


def numbers(count: int, first: int = 1) -> str:
    return "".join(f"{number}\n" for number in range(first, first + count))


@pytest.mark.parametrize("options", [[], ["--unordered"], ["--queue-size", "2", "--consumers", "1"]])
def test_killed_runs_read_each_line_once_and_answer_all(runs: Runs, options: list[str]) -> None:
    """Bad lines and empty ones among them. The same command is given each time; the last run ends the input."""
    lines = [str(number) for number in range(1, 401)]
    lines[6::50] = ["oops"] * 8
    lines[8::50] = [""] * 8
    lines[10::50] = ['"' + "x" * 200 + '"'] * 8
    runs.input.write_text("\n".join(lines))
    options = [*options, "--max-line-bytes", "100"]
    read, answered = [], set()
    for bomb in (5, 150, 399):
        status, output, _ = runs.file(*options, BOMB=bomb)
        assert status == -signal.SIGKILL
        read.append({line["id"] for line in output if "ok" in line and "replayed" not in line})
        answered |= set(ids(output))
    _, output, errors = runs.file(*options)
    assert "continuing after line" in errors
    read.append(set(fresh(output)))
    answered |= set(ids(output))
    assert answered == {number for number, line in enumerate(lines, 1) if line}
    assert sum(map(len, read)) == len(set.union(*read))
    assert all(line["ok"] == line["id"] * 10 for line in output if "ok" in line)


def test_a_run_may_be_killed_at_any_moment(runs: Runs) -> None:
    """No line is without an answer in the end."""
    runs.input.write_text(numbers(3000))
    chance, answered = random.Random(7), set()
    for _ in range(5):
        process = runs.start("in.ndjson", "--quiet", "--in-flight", "100")
        assert process.stdout is not None
        output = process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.kill()
        output += process.stdout.read()
        answered |= set(ids(whole_lines(output)))
    status, rest, _ = runs.file("--quiet")
    assert status == 0
    assert answered | set(ids(rest)) == set(range(1, 3001))
    assert len(fresh(rest)) < 3000


def test_bad_lines_that_were_read_are_answered_by_a_run_without_input(runs: Runs) -> None:
    """In the order of the input, with their errors."""
    runs.input.write_text('1\noops\n"text"\n2\n')
    assert runs.file("--quiet", BOMB=1)[:2] == (-signal.SIGKILL, [])
    status, output, _ = runs.run("--quiet")
    assert status == 1
    assert ids(output) == [1, 2, 3, 4]
    assert all(line["replayed"] for line in output)
    assert [line["error"]["type"] for line in output[1:3]] == ["InvalidJSON", "PayloadTypeError"]
    assert output[1]["error"]["message"].startswith("line 2 is not JSON")
    assert runs.file("--quiet")[:2] == (0, [])  # nothing is left of the input
    assert ids(runs.file("--quiet")[1]) == [1, 2, 3, 4]  # and so it begins again


def test_an_input_that_was_finished_is_processed_again(runs: Runs) -> None:
    """A position is kept for inputs that have lines left only."""
    runs.input.write_text("1\n2\n-3\n")
    first = runs.file("--quiet")
    assert first[0] == 1
    assert len(first[1]) == 3
    assert runs.file("--quiet") == first
    assert runs.file("--quiet", "--resume") == first


def test_another_file_is_not_continued(runs: Runs) -> None:
    """Although it begins with the same lines; the position in the first one is kept meanwhile."""
    runs.input.write_text(numbers(10))
    (runs.folder / "other").write_text(numbers(10))
    assert runs.file("--in-flight", "4", BOMB=3)[0] == -signal.SIGKILL
    status, output, _ = runs.run("other", "--quiet")
    assert status == 0
    assert fresh(output) == list(range(1, 11))
    status, output, errors = runs.file()
    assert (status, fresh(output)) == (0, [5, 6, 7, 8, 9, 10])
    assert "continuing after line 4" in errors


@pytest.mark.parametrize("content", ["5\n" + numbers(9, 2), "1\n2\n"])
def test_a_file_that_was_changed_begins_anew(runs: Runs, content: str) -> None:
    """Its first lines are not the ones that were read, or there are fewer. This is said."""
    runs.input.write_text(numbers(10))
    assert runs.file(BOMB=10)[0] == -signal.SIGKILL
    runs.input.write_text(content)
    status, output, errors = runs.file()
    assert status == 0
    assert fresh(output) == list(range(1, len(content.splitlines()) + 1))
    assert "the input has changed" in errors


def test_a_pipe_is_continued_on_request(runs: Runs) -> None:
    """Another input with the same lines would be skipped else."""
    assert runs.run("--in-flight", "4", stdin=numbers(10), BOMB=3)[0] == -signal.SIGKILL
    status, output, errors = runs.run("--resume", stdin=numbers(12))
    assert (status, fresh(output)) == (0, list(range(5, 13)))
    assert "continuing after line 4" in errors
    assert runs.run("--in-flight", "4", stdin=numbers(10), BOMB=3)[0] == -signal.SIGKILL
    assert fresh(runs.run(stdin=numbers(3))[1]) == [1, 2, 3]


@pytest.mark.parametrize("other", ["7\n8\n9\n" + numbers(9), "1\n"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_request_to_continue_another_input_is_refused(runs: Runs, kind: str, other: str) -> None:
    """Nothing of it is processed, and the right one can be continued still."""
    runs.input.write_text(numbers(10))
    assert runs.file("--in-flight", "4", BOMB=3)[0] == -signal.SIGKILL
    if kind == "file":
        (runs.folder / "other").write_text(other)
        status, output, errors = runs.run("other", "--resume", "--quiet")
    else:
        status, output, errors = runs.run("--resume", "--quiet", stdin=other)
    assert (status, fresh(output)) == (1, [])
    assert "--resume: this is another input: it does not begin with the 4 lines" in errors
    assert fresh(runs.file()[1]) == [5, 6, 7, 8, 9, 10]


def test_a_file_may_be_begun_anew_on_request(runs: Runs) -> None:
    """What is left of it in the journal is processed all the same."""
    runs.input.write_text(numbers(10))
    assert runs.file("--in-flight", "4", BOMB=3)[0] == -signal.SIGKILL
    assert fresh(runs.file("--no-resume")[1]) == list(range(1, 11))


def test_standard_input_that_is_a_file_is_a_file(runs: Runs) -> None:
    """It is recognised whatever its name, from the place where it stood."""
    runs.input.write_text("skipped\n" + numbers(10))
    with runs.input.open("rb", buffering=0) as file:
        assert file.read(8) == b"skipped\n"
        assert runs.start("--in-flight", "4", stdin=file, BOMB=3).wait(BOUND) == -signal.SIGKILL
    runs.input.rename(runs.folder / "renamed")
    with (runs.folder / "renamed").open("rb", buffering=0) as file:
        file.seek(8)
        output, _ = runs.start("--quiet", stdin=file).communicate(timeout=BOUND)
    assert fresh(lines_of(output)) == [5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("options", [[], ["--unordered"], ["--queue-size", "1", "--consumers", "1"]])
def test_a_run_that_was_stopped_by_a_signal_is_continued(runs: Runs, options: list[str]) -> None:
    """Lines that it gave up, or was about to send, are neither lost nor read twice."""
    runs.input.write_text(numbers(300))
    process = runs.start("in.ndjson", "--drain-timeout", "0.1", "--in-flight", "50", *options, STUCK=100)
    wait_until((runs.folder / "stuck").exists)
    process.terminate()
    first = lines_of(process.communicate(timeout=BOUND)[0])
    assert process.returncode == 143
    status, second, _ = runs.file(*options)
    assert status == 0
    answered = {line["id"] for line in first if "ok" in line}
    assert 0 < len(answered) < 300
    assert answered | set(ids(second)) == set(range(1, 301))
    assert answered & set(ids(second)) == set()


def test_a_run_that_stopped_at_a_failure_is_continued_behind_it(runs: Runs) -> None:
    """The line that failed is not tried again."""
    runs.input.write_text("1\n2\n-3\n" + numbers(20, 4))
    status, first, _ = runs.file("--fail-fast", "--in-flight", "5")
    assert (status, ids(first)) == (1, [1, 2, 3])
    status, second, _ = runs.file("--fail-fast", "--in-flight", "5")
    assert (status, ids(second)) == (0, list(range(4, 24)))


def test_a_run_whose_reader_went_away_is_continued(runs: Runs) -> None:
    """With the line after the last one that it could write, at the latest."""
    runs.input.write_text(numbers(5000))
    process = runs.start("in.ndjson", "--quiet")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())["id"]
    process.stdout.close()
    process.wait(BOUND)
    status, second, _ = runs.file("--quiet")
    assert status == 0
    assert set(ids(second)) >= set(range(5001)) - set(range(first + 4000))
    assert len(set(ids(second))) == len(ids(second))


def test_lines_that_a_full_disk_refused_are_read_again(runs: Runs) -> None:
    """Their output says that they were not taken."""
    runs.input.write_text("".join(f"{number}{' ' * 300}\n" for number in range(1, 2001)))
    code = "import resource, sys; from event_collector.cli import main; "
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000)); sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code + limit, "run", "handlers.py:work", "--journal", "j", "--quiet", "in.ndjson"],
        cwd=runs.folder, capture_output=True, timeout=BOUND, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 1
    first = lines_of(done.stdout)
    answered = {line["id"] for line in first if "ok" in line}
    assert "JournalError" in {line["error"]["type"] for line in first if "error" in line}
    status, second, _ = runs.file("--quiet")
    assert status == 0
    assert answered | {line["id"] for line in second if "ok" in line} == set(range(1, 2001))


def test_there_is_nothing_to_continue_without_a_journal(runs: Runs) -> None:
    """The message says what to add."""
    done = subprocess.run(
        [sys.executable, "-m", "event_collector", "run", "handlers.py:work", "--resume"],
        cwd=runs.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "add --journal PATH" in done.stderr


def test_a_line_that_kills_each_run_is_answered_in_the_end(runs: Runs) -> None:
    """By the run that gives it up; it is a dead letter from then on. Others are not taken along."""
    runs.input.write_text("1\n2\n3\n")
    for _ in range(5):
        assert runs.file("--quiet", BOMB=2)[0] == -signal.SIGKILL
    status, output, _ = runs.file("--quiet", BOMB=2)
    assert status == 1
    answer = next(line for line in output if line["id"] == 2)
    assert answer["replayed"]
    assert answer["error"] == {"type": "Quarantined", "message": "5 programs died while a handler had this event"}
    assert runs.run("--quiet")[:2] == (0, [])


def test_a_line_that_no_longer_fits_its_type_is_answered(runs: Runs) -> None:
    """The handler was changed between the runs."""
    runs.input.write_text('{"n":1}\n{"n":2}\n')
    (runs.folder / "handlers.py").write_text(ORDERS)
    assert runs.file("--quiet")[0] == -signal.SIGKILL
    (runs.folder / "handlers.py").write_text(
        ORDERS.replace("n: int", "n:  str")
    )  # of another size, or Python would find it compiled
    status, output, _ = runs.run("--quiet")
    assert (status, ids(output)) == (1, [1, 2])
    assert {line["error"]["type"] for line in output} == {"Undecodable"}


def test_a_journal_that_is_removed_ends_the_reading(runs: Runs) -> None:
    """What was read is finished and written; the rest is left to the next run."""
    process = runs.start("--quiet", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"1\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"id": 1, "ok": 10}
    for file in runs.folder.glob("j*"):
        file.unlink()
    process.stdin.write(b"2\n3\n")
    process.stdin.flush()
    process.wait(BOUND)
    assert process.returncode == 1
    assert process.stderr is not None
    assert b"stopped reading after line" in (errors := process.stderr.read())
    assert b"was removed or replaced" in errors
