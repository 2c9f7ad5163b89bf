"""`event-collector bench` as its users meet it: the right advice on handlers whose answer is known."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from .running import wait_until

TARGETS = Path(__file__).with_name("bench_targets.py")
LIMIT = 100.0


def line(target: str, *options: str, payloads: Sequence[str] = ('{"n":1}',)) -> list[str]:
    given = [part for payload in payloads for part in ("--payload", payload)]
    return [sys.executable, "-m", "event_collector", "bench", f"{TARGETS}:{target}", *given, *options]


def bench(
    target: str, *options: str, payloads: Sequence[str] = ('{"n":1}',), stdin: str = "", **more: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line(target, *options, payloads=payloads), input=stdin, capture_output=True, text=True, timeout=LIMIT,
        check=False, **more,
    )  # fmt: skip


def advice(target: str, *options: str, **more: Any) -> dict[str, Any]:
    """Return the report of a short run."""
    done = bench(target, "--json", "--quiet", *(options or ("--seconds", "6")), **more)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "mode", "code"),
    [
        ("wait", "coroutine", 'collector = Collector("wait", wait, mode="coroutine")'),
        ("wait_plainly", "thread", 'collector = Collector("wait_plainly", wait_plainly, mode="thread")'),
        ("crunch", "process", 'collector = Collector("crunch", crunch, mode="process")'),
        ("crunch_plainly", "process", 'collector = Collector("crunch_plainly", crunch_plainly, mode="process")'),
        ("nothing", "coroutine", 'collector = Collector("nothing", nothing, mode="coroutine")'),
        ("nothing_plainly", "coroutine", "async def nothing_plainly(payload, ctx): ...  # instead of def"),
        ("both", "coroutine", 'collector = Collector("both", both, mode="coroutine")'),
    ],
)
def test_known_handlers_get_the_right_mode(target: str, mode: str, code: str) -> None:
    """IO-bound, CPU-bound, both, and too small to be worth a process."""
    report = advice(target, "--seconds", "5", "--workers", "2")
    assert report["recommendation"]["contender"]["mode"] == mode, report
    assert report["code"][0] == code
    assert report["code"][-1].startswith("queue = CollectorQueue([collector]")


def row(report: dict[str, Any], label: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in report["rows"] if row["label"] == label)
    return found


def test_a_batch_handler_is_measured_with_batches_of_several_sizes() -> None:
    """In its own mode; a call that costs the same for one event as for many is best with many."""
    report = advice("batched", "--seconds", "4", payloads=["1"])
    labels = [f"thread, batches of {size}" for size in (1, 4, 16, 64, 256)]
    assert [row["label"] for row in report["rows"]] == labels
    assert [row["batch"] for row in report["rows"]] == [1, 4, 16, 64, 256]
    assert report["recommendation"]["contender"]["batch"] >= 16
    assert ", batch=Batch(max_size=" in report["code"][0]


def test_handler_that_always_fails_gets_its_error_instead() -> None:
    """Status 1, no advice, the error in words for every mode."""
    done = bench("fail", "--seconds", "2", "--workers", "1", "--quiet")
    assert done.returncode == 1
    assert "No recommendation" in done.stdout
    assert done.stdout.count("100.0% of the events failed, the first with ValueError: no good") == 3


@pytest.mark.slow
def test_leak_is_told_with_its_size_for_each_event() -> None:
    """In the program as in workers; the size is right within a third."""
    report = advice("leak", "--seconds", "6", "--workers", "1", "--mode", "thread", "--mode", "process")
    for label in ("thread", "process, 1 worker"):
        assert row(report, label)["growth"] == pytest.approx(100_000, rel=0.33)
    assert sum("memory grows by" in text for text in report["recommendation"]["warnings"]) == 2


def test_blocking_handler_is_told_for_how_long_it_blocks() -> None:
    """Its 20 ms of computing, and what to do about it."""
    report = advice("crunch", "--seconds", "2", "--workers", "1")
    (blocking,) = [text for text in report["recommendation"]["warnings"] if "blocks everything else" in text]
    assert 'mode="process"' in blocking


def test_mode_that_kills_its_process_leaves_the_others() -> None:
    """What ends the whole process in one mode is survived, and told with the exit status."""
    report = advice("exit_in_thread", "--seconds", "2", "--workers", "1")
    assert "ended with status 9" in row(report, "thread")["refusal"]
    assert report["recommendation"]["contender"]["mode"] != "thread"


def test_mode_in_which_values_cannot_travel_is_not_recommended() -> None:
    """A result that no worker can send back leaves the event loop."""
    report = advice("returns_a_set", "--seconds", "2", "--workers", "1")
    assert report["recommendation"]["contender"]["mode"] == "coroutine"
    assert row(report, "process, 1 worker")["failures"] == 1.0
    assert "EncodeError" in row(report, "process, 1 worker")["error"]


def test_workers_show_speed_up_and_efficiency(tmp_path: Path) -> None:
    """One line for each number of workers, also on a page that needs nothing beside it."""
    page = tmp_path / "report.html"
    done = bench("one", "--seconds", "2", "--workers", "2,1", "--mode", "process", "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert "workers  speed-up" in done.stdout
    assert "serial share" in done.stdout
    text = page.read_text()
    assert "<h3>Workers</h3>" in text
    assert "process, 2 workers" in text
    assert text.count("data-chart=") == 2


def test_a_page_without_its_extra_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    """Status 2, and the command that installs the extra; no file is made. Without a page nothing is missing."""
    page = tmp_path / "report.html"
    (tmp_path / "jinja2.py").write_text("raise ModuleNotFoundError('none', name='jinja2')")
    lacking = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = bench("fails", "--html", str(page), env=lacking)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--html: jinja2 is not installed: pip install 'event-collector-hybrid[web]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not page.exists()
    done = bench("one", "--seconds", "1", "--workers", "1", "--mode", "process", "--quiet", env=lacking)
    assert "Recommended" in done.stdout, done.stderr


def test_payloads_come_from_a_file_or_standard_input_and_fit_the_type(tmp_path: Path) -> None:
    """They are decoded into what the handler asks for; one that does not fit is refused before anything runs."""
    file = tmp_path / "events.ndjson"
    file.write_text("[1, 2]\n\n[3]\n")
    options = ("--seconds", "2", "--mode", "coroutine", "--count", "50")
    report = advice("typed", "--input", str(file), *options, payloads=())
    assert report["rows"][0]["failures"] == 0.0
    assert report["rows"][0]["events"] % 50 == 0
    assert advice("typed", "--input", "-", *options, payloads=(), stdin="[5]\n")["rows"][0]["failures"] == 0.0
    refused = bench("typed", payloads=("[1]", '["x"]'))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "line 2 does not fit the payload type: Expected `int`, got `str`" in refused.stderr


@pytest.mark.parametrize(
    ("target", "options", "payloads", "words"),
    [
        ("nothing", (), (), "one of the arguments --input --payload is required"),
        ("nothing", ("--mode", "thread"), ("1",), "cannot run in mode thread"),
        ("nothing", ("--workers", "1,0"), ("1",), "takes a whole number of at least 1"),
        ("nothing", ("--html", "/nowhere/x.html"), ("1",), "cannot write /nowhere/x.html"),
        ("nothing", ("--input", "nowhere.ndjson"), (), "cannot read nowhere.ndjson"),
        ("nothing", ("--input", os.devnull), (), "has no lines"),
        ("nothing", (), ("{",), "is not JSON"),
        ("pair", (), ("1",), "has 2 collectors"),
        ("missing", (), ("1",), "has no attribute 'missing'"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(
    target: str, options: tuple[str, ...], payloads: tuple[str, ...], words: str
) -> None:
    """Status 2, nothing on standard output."""
    done = bench(target, *options, payloads=payloads)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_with_what_was_measured(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: a report of the rounds so far, the status of the signal, and no process left."""
    arguments = line("wait", "--seconds", "60", "--workers", "1", "--progress-interval", "0.1")
    started = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stderr is not None
        while not started.stderr.readline().startswith(tuple("123456789")):
            pass  # a line of progress that counts events of rounds
        children = psutil.Process(started.pid).children(recursive=True)
        assert children
        started.send_signal(number)
        stdout, stderr = started.communicate(timeout=LIMIT)
    finally:
        started.kill()
        started.wait()
    assert started.returncode == 128 + number
    assert "stopped; what was measured until then" in stderr
    assert "coroutine" in stdout
    wait_until(lambda: not any(child.is_running() for child in children))
