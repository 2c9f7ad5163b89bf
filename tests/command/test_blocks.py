"""Lines that travel in blocks: what is written is what is written when each line is an event."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from event_collector import Collector, CollectorQueue, Retry
from event_collector.command.lines.block_window import BlockWindow
from event_collector.values.payload import Payload

from . import sample_targets
from .running import BOUND, events, lines_of, run, start, wait_until

if TYPE_CHECKING:
    import subprocess

AS_EVENTS = ("--queue-size", "1000")
"""In a bounded queue each line is an event, which waits for its place."""

VALUES = [{"return": name} for name in sample_targets.RESULTS]
LINES = [
    b'{"a":1}', b"", b"   ", b"\t\r", b"[1,2.5,null]\r", b"\xef\xbb\xbf7", b"nope", b'{"a":', b"NaN", b"Infinity",
    b"-0", b"1e400", b"-0.0", b"123456789012345678901234567890", b'{"n":18446744073709551616}', b"18446744073709551615",
    b'"\xff"', b'"\\ud800"', b'"\\u0000\\n"', b'"' + b"y" * 300_000 + b'"', b"\0", b"[" * 100_000,
    b'{"n":1}', b'{"n":"x"}', b'{"keep":"something"}', b'"kept"', b'{"raise":"no good"}', b'{"raise":"\\u00e4\\n"}',
    b'{"quit":3}', b'"' + b"z" * 1_200_000 + b'"', b"", b"true",
    *(json.dumps(value).encode() for value in VALUES), b"1", b"",
]  # fmt: skip
AWKWARD = b"\xef\xbb\xbf" + b"\n".join(LINES + [b"%d" % n for n in range(500)] + LINES)


def both_ways(*arguments: str, target: str, stdin: bytes) -> tuple["subprocess.CompletedProcess[str]", ...]:
    """Run lines in blocks, and as events."""
    options = ("--quiet", "--workers", "2", *arguments)
    return tuple(run(*options, *more, target=target, stdin=stdin) for more in ((), AS_EVENTS))


def without_pids(output: str) -> str:
    """Return output without what differs from run to run: the worker, and how its end was noticed."""
    return re.sub(r"worker \d+ \(pid \d+\)", "worker N", output).replace("; [Errno 104] Connection reset by peer", "")


@pytest.mark.parametrize("target", ["awkward", "awkward_async", "awkward_payload", "awkward_order", "awkward_int"])
def test_awkward_lines_give_the_same_bytes_in_blocks_and_as_events(target: str) -> None:
    """Empty lines, byte order marks, bad JSON, wrong types, results that JSON does not have, no newline at the end."""
    options = ("--max-line-bytes", "1000000", "--mode", "process")
    blocks, single = both_ways(*options, target=target, stdin=AWKWARD)
    assert without_pids(blocks.stdout) == without_pids(single.stdout)
    assert blocks.returncode == single.returncode == 1
    assert len(lines_of(blocks.stdout.encode("latin-1"))) > 500


def test_tracebacks_are_those_of_events() -> None:
    """--traceback shows the frames of the handler, and none for lines that are not JSON.

    The place in the program that has received the error is another one.
    """

    def without_receiver(output: str) -> str:
        place = r'(tiers/workers/)[^"]*", line \d+, in \w+\\n.*?\\n(?: *[~^]+\\n)?'
        return re.sub(place, r"\1", without_pids(output))

    stdin = b'1\nnope\n{"raise":"no good"}\n{"return":"object"}\n'
    blocks, single = both_ways("--traceback", target="awkward", stdin=stdin)
    assert "Traceback" in blocks.stdout
    assert without_receiver(blocks.stdout) == without_receiver(single.stdout)


def test_crash_and_timeout_cost_their_own_line_alone() -> None:
    """The lines before and behind it in the block have their results."""
    lines = [b"%d" % n for n in range(300)]
    lines[20], lines[150], lines[290] = b'{"exit":7}', b'{"sleep":60}', b'{"exit":9}'
    blocks, single = both_ways("--timeout", "2", target="awkward", stdin=b"\n".join(lines))
    assert without_pids(blocks.stdout) == without_pids(single.stdout)
    failed = [line["id"] for line in lines_of(blocks.stdout) if "error" in line]
    assert (failed, blocks.returncode) == ([21, 151, 291], 1)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_summary_counts_the_same(ending: bytes) -> None:
    """Events and errors, without empty lines."""
    stdin = ending.join([b"1", b"", b"x", b'{"raise":"no"}', b"2", b""])
    done = run(target="awkward", stdin=stdin)
    assert "4 events in" in done.stderr
    assert "2 errors" in done.stderr


def test_fail_fast_stops_at_the_first_failed_line() -> None:
    """Its line is the last of the output."""
    stdin = events(500).encode() + b"oops\n" + events(3000).encode()
    blocks, single = both_ways("--fail-fast", target="awkward", stdin=stdin)
    assert without_pids(blocks.stdout) == without_pids(single.stdout)
    assert blocks.returncode == single.returncode == 1
    assert lines_of(blocks.stdout)[-1]["error"]["type"] == "InvalidJSON"
    assert "stopped at the first failed event" in blocks.stderr


def test_unordered_lines_are_the_same_in_another_order() -> None:
    """Each line of output names its line of input."""
    blocks, single = both_ways("--unordered", "--max-line-bytes", "1000000", target="awkward", stdin=AWKWARD)
    assert sorted(without_pids(blocks.stdout).split("\n")) == sorted(without_pids(single.stdout).split("\n"))


def test_line_is_written_before_the_next_one_is_read() -> None:
    """A program that asks and waits for the answer gets it."""
    process = start("--quiet", target="awkward")
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(3):
        process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"id": number + 1, "ok": number}
    process.stdin.close()
    assert process.wait(BOUND) == 0


def test_first_results_do_not_wait_for_their_block(tmp_path: Path) -> None:
    """All lines were read at once, and the last one sleeps."""
    process = start("--quiet", target="awkward")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'1\n2\n3\n{"sleep":60}\n')
    process.stdin.close()
    assert [json.loads(process.stdout.readline())["ok"] for _ in range(3)] == [1, 2, 3]


def test_interruption_finishes_what_was_read(tmp_path: Path) -> None:
    """SIGTERM stops the reading; the lines in flight are written."""
    trace = tmp_path / "begun"
    process = start("--quiet", target="toil")
    assert process.stdin is not None
    process.stdin.write(json.dumps({"touch": str(trace), "seconds": 0.3, "n": 1}).encode() + b"\n")
    process.stdin.write(b'{"seconds":0,"n":2}\n')
    process.stdin.flush()
    wait_until(trace.exists)
    process.terminate()
    output, _ = process.communicate(timeout=BOUND)
    assert [line["ok"] for line in lines_of(output)] == [1, 2]
    assert process.returncode == 143


def test_lines_that_do_not_finish_in_time_are_given_up_and_named(tmp_path: Path) -> None:
    """The drain timeout ends the handler that runs and the lines behind it."""
    trace = tmp_path / "begun"
    process = start("--quiet", "--drain-timeout", "0.3", "--workers", "1", target="toil")
    assert process.stdin is not None
    process.stdin.write(b'{"seconds":0,"n":0}\n')
    process.stdin.write(json.dumps({"touch": str(trace), "seconds": 60, "n": 1}).encode() + b"\n")
    process.stdin.write(b'{"seconds":0,"n":2}\n')
    process.stdin.flush()
    wait_until(trace.exists)
    process.terminate()
    output, errors = process.communicate(timeout=BOUND)
    assert [line.get("ok") for line in lines_of(output)] == [0, None, None]
    assert b"not finished: lines 2-3" in errors


@pytest.mark.parametrize(
    ("options", "queue_options"),
    [
        ({"mode": "thread"}, {}),
        ({"retry": Retry(max_attempts=2)}, {}),
        ({"payload_type": Any}, {}),
        ({}, {"max_queue_size": 10}),
        ({}, {"max_events_per_worker": 10}),
    ],
)
async def test_other_queues_get_each_line_as_an_event(options: dict[str, Any], queue_options: dict[str, Any]) -> None:
    """Where a feature concerns single events."""
    handler = sample_targets.awkward_order if "payload_type" in options else sample_targets.awkward
    collector = Collector("a", handler, **{"mode": "process", **options})
    async with CollectorQueue([collector], logging=False, **queue_options) as queue:
        assert queue._feed_lines(BlockWindow(10, 10, ordered=True), Payload) is None  # type: ignore[arg-type]


async def test_worker_processes_get_blocks() -> None:
    """The path that the other tests compare with is another one."""
    async with CollectorQueue([Collector("a", sample_targets.awkward, mode="process")], logging=False) as queue:
        feed = queue._feed_lines(BlockWindow(10, 10, ordered=True), Payload)  # type: ignore[arg-type]
        assert feed is not None
        feed.withdraw()
