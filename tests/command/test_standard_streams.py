"""Standard streams in the states that parent processes hand over: not blocking, closed, full."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from .running import BOUND, HANDLERS, command, lines_of

LINES = 3000
LINE = b'"%s"\n' % (b"x" * 60)
TEXT = LINE * LINES  # more than pipes and sockets hold
SHELL = 'trap "" PIPE; exec "$0" "$@" '


def pair(kind: str) -> tuple[int, int]:
    """Return the ends of a pipe or of a socket: for reading and for writing."""
    if kind == "pipe":
        return os.pipe()
    reading, writing = socket.socketpair()
    return reading.detach(), writing.detach()


def drain(fd: int) -> bytes:
    """Read to the end."""
    with os.fdopen(fd, "rb") as file:
        return file.read()


def at_once(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_streams_that_do_not_block_lose_nothing(kind: str) -> None:
    """The parent has set O_NONBLOCK on all three: the command waits for a slow writer and for slow readers."""
    (stdin, feed), (results, stdout), (errors, stderr) = pair(kind), pair(kind), pair(kind)
    for fd in (stdin, stdout, stderr):
        os.set_blocking(fd, False)
    process = subprocess.Popen(command("--quiet", target="shout"), stdin=stdin, stdout=stdout, stderr=stderr)
    for fd in (stdin, stdout, stderr):
        os.close(fd)

    def write() -> None:
        with os.fdopen(feed, "wb") as file:
            file.write(TEXT)

    def read_errors() -> None:
        printed.append(drain(errors))

    printed: list[bytes] = []
    threads = [at_once(write), at_once(read_errors)]
    output = drain(results)
    for thread in threads:
        thread.join(BOUND)
    assert process.wait(BOUND) == 0, printed
    assert output.count(b'"ok"') == LINES
    assert printed[0].count(b"shouted") == LINES


def test_flag_may_be_set_while_it_runs(tmp_path: Path) -> None:
    """Another process that has the same pipe or terminal may set O_NONBLOCK at any time."""
    (stdin, feed), (results, stdout) = pair("socket"), pair("socket")
    process = subprocess.Popen(command("--quiet"), stdin=stdin, stdout=stdout)
    os.write(feed, LINE)
    assert os.read(results, 4096)
    for fd in (stdin, stdout):
        os.set_blocking(fd, False)
        os.close(fd)

    def write() -> None:
        with os.fdopen(feed, "wb") as file:
            file.write(TEXT)

    thread = at_once(write)
    assert drain(results).count(b'"ok"') == LINES
    thread.join(BOUND)
    assert process.wait(BOUND) == 0


def shell(redirections: str, *arguments: str, stdin: bytes = b"1\n2\n") -> "subprocess.CompletedProcess[bytes]":
    """Run the command with these redirections of the shell."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirections}', *arguments],
        input=stdin, capture_output=True, timeout=BOUND, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("target", ["chat", "chat_in_worker"])
@pytest.mark.parametrize("redirections", ["2>&-", "2>&1"])
def test_standard_error_may_be_closed(target: str, redirections: str) -> None:
    """Nothing of what is printed gets among the results."""
    done = shell(redirections, *command("--quiet", target=target))
    results = [line for line in done.stdout.splitlines() if not line.startswith(b"printed")]
    assert [line["id"] for line in lines_of(b"\n".join(results))] == [1, 2]
    assert done.returncode == 0
    assert (b"printed" in done.stdout) == (redirections == "2>&1")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_of_standard_error_fails_no_event() -> None:
    """Progress, log lines and the summary are dropped."""
    done = shell("2>/dev/full", *command("--progress-interval", "0.001", "--log-level", "debug", target="chat"))
    assert len(lines_of(done.stdout)) == 2
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [command(), [sys.executable, "-m", "event_collector", "journal", "j", "drop"]])
def test_standard_output_that_is_closed_is_refused(arguments: list[str]) -> None:
    """What the command writes would be lost, so it does nothing."""
    done = shell(">&-", *arguments)
    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_one_line_and_a_status(tmp_path: Path) -> None:
    """Other subcommands say it as `run` does, without a traceback."""
    path = str(tmp_path / "journal")
    assert shell("", *command("--journal", path, "--quiet")).returncode == 0
    done = shell(">/dev/full", sys.executable, "-m", "event_collector", "journal", path, "count")
    assert done.stderr.decode().splitlines() == [
        "event-collector journal: cannot go on: [Errno 28] No space left on device"
    ]
    assert done.returncode == 1


def test_bench_reads_a_pipe_that_does_not_block() -> None:
    """Payloads that come late are waited for."""
    stdin, feed = os.pipe()
    os.set_blocking(stdin, False)
    arguments = [sys.executable, "-m", "event_collector", "bench", f"{HANDLERS}:echo", "--input", "-", "-q"]
    process = subprocess.Popen(
        [*arguments, "--mode", "coroutine", "--seconds", "0.3"], stdin=stdin, stdout=subprocess.PIPE
    )
    os.close(stdin)
    for line in (b"1\n", b"no JSON\n"):
        os.write(feed, line)
    os.close(feed)
    process.communicate(timeout=BOUND)
    assert process.returncode == 2  # the second line was read


PROGRAM = f"""
import asyncio, sys
sys.path.insert(0, {str(HANDLERS.parent)!r})
from sample_targets import Collector, CollectorQueue, Payload, where, echo

async def main(**options):
    handlers = [Collector("here", echo), Collector("there", where)]
    async with CollectorQueue(handlers, max_workers=1, **options) as queue:
        event = await queue.get_publisher().send(Payload(1))
        return [result.unwrap() for result in await event.wait()]

if __name__ == "__main__":
    sys.exit(sum(len(asyncio.run(main(**options))) for options in ({{}}, {{"logging": False}})))
"""


@pytest.mark.parametrize("redirections", [">&-", "<&- >&- 2>&-"])
def test_queue_works_without_standard_streams(redirections: str, tmp_path: Path) -> None:
    """In a daemon that has closed them, events run on the event loop and in worker processes, logged or not."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    done = shell(redirections, sys.executable, str(path))
    assert (done.returncode, done.stderr) == (4, b"")  # the number of results
