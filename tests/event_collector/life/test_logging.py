"""What a queue prints: a line of JSON for each report, and nothing else."""

import contextlib
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import asyncio
from event_collector import Collector, CollectorQueue, Payload
from event_collector.queue import ReportedMetrics

async def echo(payload, ctx):
    return payload.value

async def main(reports, **options):
    seen, enough = [], asyncio.Event()

    async def reported(event, queue):
        seen.append(event)
        if len(seen) == reports:
            enough.set()

    queue = CollectorQueue([Collector("a", echo)], **options)
    queue.get_message_bus().add_msg_handler(ReportedMetrics, reported)
    async with queue:
        for value in range(5):
            await queue.get_publisher().send(Payload(value))
        await queue.get_publisher().wait()
        if reports:
            await enough.wait()
"""

FIELDS = {
    "metrics_timestamp": str,
    "qsize": int,
    "busy": int,
    "consumers": int,
    "load": float,
    "avg_load": float,
    "service_time": float,
    "wait_time": float,
    "arrival_rate": float,
    "departure_rate": float,
    "wip": float,
    "t_delta": float,
    "event_count": int,
}


def printed_by(call: str) -> tuple[str, str]:
    """Run the program in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}\nasyncio.run({call})"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """What a program with reports prints, each line decoded."""
    stdout, stderr = printed_by("main(3, report_interval=0.05)")
    assert stderr == ""
    return [json.loads(line) for line in stdout.splitlines()]


def test_every_report_is_one_line_of_json(lines: list[dict[str, Any]]) -> None:
    """All that is printed on standard output are the reports."""
    assert len(lines) >= 3
    assert {line["event"] for line in lines} == {"collector queue metrics"}


def test_a_report_has_every_field_of_the_metrics(lines: list[dict[str, Any]]) -> None:
    """The fields have their names and their JSON types."""
    for line in lines:
        assert {name: type(line[name]) for name in FIELDS} == FIELDS
    assert lines[-1]["event_count"] == 5


def test_a_report_says_what_was_decided_and_why(lines: list[dict[str, Any]]) -> None:
    """Targets as numbers, the last changes as sentences."""
    for line in lines:
        for name in ("target_consumers", "workers", "target_workers"):
            assert type(line[name]) is int
    changes = lines[-1]["changes"]
    assert all(isinstance(change, str) for change in changes)


def test_a_report_says_who_reports_and_when(lines: list[dict[str, Any]]) -> None:
    """One logger, level info, and two times in UTC that do not run backwards."""
    (logger,) = {line["logger"] for line in lines}
    assert logger.startswith("CollectorQueue")
    assert {line["level"] for line in lines} == {"info"}
    for name in ("timestamp", "metrics_timestamp"):
        times = [datetime.datetime.fromisoformat(line[name]) for line in lines]
        assert times == sorted(times)
        assert {time.utcoffset() for time in times} == {datetime.timedelta(0)}


@pytest.mark.parametrize(
    "call", ["main(0)", "main(3, report_interval=0.05, logging=False)"], ids=["with the defaults", "with logging off"]
)
def test_nothing_is_printed(call: str) -> None:
    """By default a queue does not report, and with logging=False it keeps its reports to itself."""
    assert printed_by(call) == ("", "")


BLOCKING = """
import asyncio, time
from event_collector import Collector, CollectorQueue, Payload

def compute():
    time.sleep(0.6)

async def block(payload, ctx):
    compute()

async def main():
    async with CollectorQueue([Collector("a", block)]) as queue:
        await (await queue.get_publisher().send(Payload(1))).wait()
        await asyncio.sleep(0.3)

asyncio.run(main())
"""


def shown_by(program: str, path: Path) -> str:
    """Run a program with a terminal for its standard output, and return what it shows there."""
    path.write_text(program)
    ours, theirs = os.openpty()
    with subprocess.Popen([sys.executable, path], stdout=theirs, stderr=subprocess.STDOUT) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux: the program has closed its end
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))


def test_lines_on_a_terminal_are_for_readers(tmp_path: Path) -> None:
    """A stack has its lines below the line of the log, from the handler on; there is no JSON."""
    text = shown_by(BLOCKING, tmp_path / "program.py")
    head, *stack = text.splitlines()
    assert "handler blocked the event loop" in head
    assert "collector=a" in head
    assert "{" not in text
    assert "Traceback (most recent call last):" in stack
    frames = [line.strip() for line in stack if line.startswith("  File")]
    assert [frame.rpartition(" ")[2] for frame in frames] == ["block", "compute"]
    assert "    time.sleep(0.6)" in stack


def test_lines_elsewhere_are_json(tmp_path: Path) -> None:
    """The same line is one object in a file or a pipe, with the stack as text."""
    (tmp_path / "program.py").write_text(BLOCKING)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, check=True, text=True, timeout=60
    )
    line = json.loads(done.stderr)
    assert line["event"] == "handler blocked the event loop"
    assert "in compute\n" in line["stack"]
