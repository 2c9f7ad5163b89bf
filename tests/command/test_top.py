"""`event-collector top` and `event-collector check`: what they show of a queue, and how they end."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import socket
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector.command.check import judge
from event_collector.command.program import run_command
from event_collector.command.top import WARNING, page
from event_collector.watching.feeds import FeedCounts, FeedSnapshot
from event_collector.watching.snapshot import (
    CollectorSnapshot,
    Decision,
    EventCounts,
    JournalSnapshot,
    Quantiles,
    Snapshot,
    WorkerSnapshot,
)
from event_collector.watching.tables import duration

from .running import BOUND, lines_of, start, wait_until

TIMES = Quantiles(0.01, 0.02, 0.5)
SNAPSHOT = Snapshot(
    time=0.0,
    elapsed=1.0,
    pid=4711,
    queue="CollectorQueue-1",
    state="running",
    problem=None,
    events=EventCounts(1234, 1200, 4, 20, 6, 4, 2),
    arrival_rate=123.4,
    departure_rate=100.0,
    load=2.5,
    consumers=10,
    target_consumers=12,
    workers_ready=2,
    target_workers=3,
    worker_restarts=1,
    workers_cpu_seconds=5.0,
    cpu=0.07,
    collectors=[CollectorSnapshot("resize", "process", 1200, 3, 100.0, 4, 20, 12.0, TIMES, Quantiles(0.1, 2.0, 3.0))],
    workers=[
        WorkerSnapshot(81, "ready", 0.99, 60.0, 34_000_000, 0.0123, 2, 900),
        WorkerSnapshot(None, "starting", None, 0.0, None, None, 0, 0),
    ],
    decisions=[Decision("workers", "1", "2", "120 events/s"), Decision("workers", "2", "3", "150 events/s")],
)


def changed(**fields: Any) -> Snapshot:
    return msgspec.structs.replace(SNAPSHOT, **fields)


def text(snapshot: Snapshot, silence: float = 0.0) -> list[str]:
    return [line.text for line in page(snapshot, silence, 120)]


# -- what is shown --


def test_the_page_has_events_collectors_workers_and_decisions() -> None:
    """All figures stand there, in columns, the last decision first; what is not known is a dash."""
    shown = [" ".join(line.split()) for line in text(SNAPSHOT)]
    assert shown[0].startswith("CollectorQueue-1 running pid 4711 CPU 7% ")
    assert shown[1:4] == [
        "events: 1,234 accepted = 1,200 finished + 4 in handlers + 20 queued + 6 scheduled + 4 dead; 2 dropped",
        "per second: 123 in, 100 out; load 2.50",
        "consumers: 10, wanted 12; workers: 2, wanted 3, died 1",
    ]
    assert "resize process 1,200 100 3 4 20 10 ms 20 ms 500 ms 2 s" in shown
    assert "81 ready 99% 34 MB 12.3 ms 2 900" in shown
    assert "- starting - - - 0 0" in shown
    assert shown.index("workers 2 -> 3: 150 events/s") < shown.index("workers 1 -> 2: 120 events/s")


def test_the_page_has_the_journal_and_the_feeds() -> None:
    """Where the queue has them; a journal that cannot be written is a warning."""
    assert not any(line.startswith(("journal", "feed")) for line in text(SNAPSHOT))
    journal = JournalSnapshot(path="j", size=8192, on_record=30, unwritten=2, lag=0.02, trouble="disk full")
    feed = FeedSnapshot(
        name="orders", state="lost", counts=FeedCounts(9, 2, 3, 1, 1, 0, 1, 1), held_bytes=64, remembered=4,
        duplicate_window=120.0, is_held_back=True, fetch_rate=2.0, acknowledge_rate=1.0,
    )  # fmt: skip
    snapshot = changed(journal=journal, feeds=[feed])
    shown = [" ".join(line.split()) for line in text(snapshot)]
    assert "journal: 30 on record, 2 to be written, lag 20 ms; 8.19 KB" in shown
    assert [line.text for line in page(snapshot) if line.style == WARNING] == ["disk full"]
    assert "orders lost, held back 2 1 2 3 1 1 1" in shown


@pytest.mark.parametrize("width", [80, 60, 200])
def test_the_page_fits_the_terminal(width: int) -> None:
    """Long lines are wrapped, long names cut, and columns that do not fit make a second table; nothing is left out."""
    busy = changed(
        events=EventCounts(*[123_456_789] * 7),
        problem="worker processes die again and again: " + "x" * 300,
        collectors=[
            msgspec.structs.replace(SNAPSHOT.collectors[0], key=key, place="coroutine", events=10**9, rate=123_456.7)
            for key in ("resize", "a" * 100)
        ],
        decisions=[Decision("workers", "1", "2", "24 events/s of 20.2 ms (2% CPU), 0 waiting on 1.86 cores " * 3)],
    )
    lines = page(busy, 5.0, width)
    assert max(len(line.text) for line in lines) <= width
    words = " ".join(line.text for line in lines).split()
    assert {"collector", "runs", "p50", "p99", "queued", "memory", "hand"} <= set(words)
    assert words.count("1,000,000,000") == 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(2.2, "2.2 s"), (0.0202, "20.2 ms"), (0.9999996, "1 s"), (9e-6, "9 us"), (99.97, "100 s"), (1234.0, "20.6 min"),
     (12_345.0, "3.4 h"), (1e6, "11.6 d")],
)  # fmt: skip
def test_times_are_for_human_readers(seconds: float, expected: str) -> None:
    """A unit that suits, and no exponents."""
    assert duration(seconds) == expected


def test_the_page_warns() -> None:
    """Workers that keep dying, and a program that is silent, are told in a line that catches the eye."""
    warnings = [line.text for line in page(changed(problem="workers die"), 7.0) if line.style == WARNING]
    assert warnings == ["no answer for 7 s: its event loop is blocked, or it is stopped", "workers die"]
    assert not [line for line in page(SNAPSHOT, 1.0) if line.style == WARNING]


def test_the_page_cannot_control_the_terminal() -> None:
    """A name with control characters is shown with them written out."""
    assert r"Queue\x1b[2J" in text(changed(queue="Queue\x1b[2J"))[0]


@pytest.mark.parametrize("state", ["starting", "draining", "stopped"])
def test_a_queue_is_well_while_it_runs(state: str) -> None:
    """Another state, or workers that keep dying, are not well; alive is less: that it answers."""
    assert judge(SNAPSHOT, 0.001).ok
    assert judge(changed(state=state), 0.001).reason == f"the queue is {state}"
    assert judge(changed(state=state, problem="workers die"), 0.001, alive=True).ok
    assert judge(changed(problem="workers die"), 0.001).reason == "workers die"


# -- what can go wrong --


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield listener


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run_command(["check", *arguments])
    (verdict,) = lines_of(capsys.readouterr().out)
    return status, verdict


def test_what_is_no_queue_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing socket, a file, a dead program, one that hangs: status 1 and a sentence each."""
    (tmp_path / "file").write_text("")
    with listening(tmp_path / "dead"):
        pass
    reasons = {}
    for name in ("missing", "file", "dead"):
        status, verdict = check(capsys, str(tmp_path / name))
        assert (status, verdict["ok"]) == (1, False)
        reasons[name] = verdict["reason"].removeprefix(f"{tmp_path / name}: ")
    with listening(tmp_path / "hangs"):
        _, verdict = check(capsys, str(tmp_path / "hangs"), "--timeout", "0.05")
        reasons["hangs"] = verdict["reason"].removeprefix(f"{tmp_path / 'hangs'}: ")
    assert reasons == {
        "missing": "there is no socket: is the program running, with this path as its monitor= or --monitor?",
        "file": "that is no socket",
        "dead": "nobody listens there: the program that made it is gone",
        "hangs": "no answer within 0.05 s: its event loop is blocked, or the program is stopped",
    }


async def test_a_socket_of_something_else_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What sends no snapshots is named as such; what closes at once, too."""
    sent = b"220 mail ready\n"

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        writer.close()

    async with asyncio.timeout(BOUND), await asyncio.start_unix_server(serve, tmp_path / "s"):
        _, verdict = await asyncio.to_thread(check, capsys, str(tmp_path / "s"))
        assert "what it sent is no snapshot of a queue" in verdict["reason"]
        sent = b""
        _, verdict = await asyncio.to_thread(check, capsys, str(tmp_path / "s"))
        assert "the connection was closed without an answer" in verdict["reason"]


@pytest.mark.parametrize("command", ["top", "check"])
def test_a_socket_has_to_be_named(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path, and without the environment variable, it is status 2 and says what to do."""
    assert run_command([command]) == 2
    assert f"event-collector {command}: name the socket of the queue" in capsys.readouterr().err


# -- a queue that runs --


async def rest(payload: Payload[float], ctx: Context) -> None:
    await asyncio.sleep(payload.value)


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[CollectorQueue]:
    queue = CollectorQueue([Collector("rest", rest)], monitor=path, logging=False)
    async with asyncio.timeout(BOUND), queue:
        await (await queue.get_publisher().send(Payload(0.001))).wait()
        yield queue


@pytest.fixture
def anyio_backend() -> str:
    """Run on one event loop only: the command runs elsewhere."""
    return "asyncio"


async def test_a_queue_that_runs_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of JSON with where its events are, status 0; the path may come from the environment."""
    monkeypatch.setenv("EVENT_COLLECTOR_MONITOR", str(tmp_path / "s"))
    async with running(tmp_path / "s") as queue:
        status, verdict = await asyncio.to_thread(check, capsys)
    assert (status, verdict["ok"], verdict["state"]) == (0, True, "running")
    assert (verdict["queue"], verdict["pid"]) == (queue.id, os.getpid())
    assert verdict["events"]["accepted"] == 1


async def top(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "event_collector", "top", *arguments, stderr=asyncio.subprocess.PIPE, **options
    )


async def test_once_writes_one_page_with_rates(tmp_path: Path) -> None:
    """In a pipe with --once there is one page of plain text, with rates, and status 0."""
    async with running(tmp_path / "s") as queue:
        shown = await top(str(tmp_path / "s"), "--once", stdout=asyncio.subprocess.PIPE)
        output, errors = await shown.communicate()
    assert (shown.returncode, errors) == (0, b"")
    assert output.startswith(queue.id.encode())
    assert b"\x1b" not in output
    assert "per second: 0 in, 0 out; load" in output.decode()


async def test_in_a_pipe_it_follows_the_queue_to_its_end(tmp_path: Path) -> None:
    """Each snapshot is a line of JSON with --json; when the queue ends so does it, and says how much was done."""
    async with running(tmp_path / "s") as queue:
        shown = await top(str(tmp_path / "s"), "--json", stdout=asyncio.subprocess.PIPE)
        assert shown.stdout is not None
        first = json.loads(await shown.stdout.readline())
    output, errors = await shown.communicate()
    assert (first["state"], lines_of(output)[-1]["state"]) == ("running", "stopped")
    ended = f"event-collector top: {queue.id} of pid {os.getpid()} has ended: 1 event finished, 0 errors\n"
    assert (shown.returncode, errors.decode()) == (0, ended)


@pytest.mark.parametrize("end", [signal.SIGINT, b"q", pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
async def test_the_terminal_is_given_back(end: signal.Signals | bytes, tmp_path: Path) -> None:
    """On a terminal it has its own screen, and gives it back: at Ctrl-C or q with status 0, at SIGTERM with 143."""
    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)

    def own_terminal() -> None:  # as the program in the foreground has it
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    try:
        async with running(tmp_path / "s") as queue:
            environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "30"}
            shown = await top(
                str(tmp_path / "s"), stdin=theirs, stdout=theirs, env=environment, preexec_fn=own_terminal
            )
            seen = b""
            while queue.id.encode() not in seen:
                seen += await asyncio.to_thread(os.read, ours, 65536)
            if isinstance(end, bytes):
                os.write(ours, b"x" + end)
            else:
                shown.send_signal(end)
            _, errors = await shown.communicate()
            assert termios.tcgetattr(theirs) == before
            os.close(theirs)
            theirs = -1
            try:
                while more := await asyncio.to_thread(os.read, ours, 65536):
                    seen += more
            except OSError:  # the end of a terminal
                pass
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    assert (shown.returncode, errors) == (143 if end == signal.SIGTERM else 0, b"")
    assert seen.index(b"\x1b[?1049h") < seen.index(queue.id.encode()) < seen.index(b"\x1b[?1049l")


def test_a_run_can_be_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`run --monitor` opens the socket; a second run there is refused with one line; the end removes it."""
    path = tmp_path / "s"
    first = start("--quiet", "--monitor", str(path))
    assert first.stdin is not None
    wait_until(lambda: path.exists() and check(capsys, str(path))[0] == 0)
    second = start("--quiet", "--monitor", str(path))
    _, errors = second.communicate(b"")
    assert second.returncode == 2
    assert f"the socket {path} is in use by another process, pid {first.pid}" in errors.decode()
    first.stdin.close()
    first.wait(BOUND)
    assert not path.exists()
