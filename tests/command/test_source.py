"""event-collector run --source: messages in, lines out, and how it ends."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from bench.brokers.server import free_port, nats_server
from tests.sources.servers import Server, running

from .running import BOUND, lines_of, run, start, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(nats_server, tmp_path_factory.mktemp("nats")) as server:
        yield server


def publish(server: Server, stream: str, *values: Any) -> str:
    """Make a stream of these messages; return its URL."""

    async def do() -> None:
        client = await nats.connect(f"nats://127.0.0.1:{server.port}")
        jetstream = client.jetstream()
        await jetstream.add_stream(name=stream, subjects=[stream])
        for value in values:
            await jetstream.publish(stream, value if isinstance(value, bytes) else json.dumps(value).encode())
        await client.close()

    asyncio.run(do())
    return f"nats://127.0.0.1:{server.port}/{stream}"


def unsettled(server: Server, stream: str) -> tuple[int, int]:
    """Return how many messages are delivered and not acknowledged, and how many wait."""

    async def do() -> tuple[int, int]:
        client = await nats.connect(f"nats://127.0.0.1:{server.port}")
        info = await client.jetstream().consumer_info(stream, "event-collector")
        await client.close()
        return info.num_ack_pending or 0, info.num_pending or 0

    return asyncio.run(do())


def test_messages_become_lines(server: Server, tmp_path: Path) -> None:
    """Each gives a line under its number in the stream; what fails for good is a line, a dead letter and status 1."""
    url = publish(server, "LINES", *[{"n": n} for n in range(1, 6)], b"nope", {"n": "x"})
    secret = tmp_path / "url"
    secret.write_text(f"{url}\n")
    done = run("--source", f"@{secret}", "--until-empty", "--max-attempts", "1", target="double")
    lines = sorted(lines_of(done.stdout), key=lambda line: line["id"])
    assert lines[:5] == [{"id": n, "ok": 2 * n} for n in range(1, 6)]
    assert [line["error"]["type"] for line in lines[5:]] == ["InvalidJSON", "ValueError"]
    assert "messages: 7 fetched, 2 dead letters" in done.stderr
    assert done.returncode == 1
    assert unsettled(server, "LINES") == (0, 0)
    assert lines_of(run("--source", url, "--until-empty", "-q").stdout) == []


def test_a_signal_finishes_what_was_fetched(server: Server, tmp_path: Path) -> None:
    """SIGTERM: what is in a handler is finished, written and acknowledged, and the rest stays with the broker."""
    touch = [str(tmp_path / f"begun-{n}") for n in (1, 2)]
    url = publish(server, "DRAIN", *[{"n": n, "seconds": 0.5, "touch": path} for n, path in enumerate(touch)])
    process = start("--source", url, "--consumers", "1", "--drain-timeout", "60", target="rest")
    wait_until(Path(touch[0]).exists)
    process.terminate()
    output, errors = process.communicate(timeout=BOUND)
    finished = len(lines_of(output))
    assert process.returncode == 143
    assert b"stopped by SIGTERM after " in errors
    assert finished >= 1
    assert unsettled(server, "DRAIN") in ((0, 2 - finished), (2 - finished, 0))  # given back: pending or to be so


def test_what_is_not_done_in_time_is_given_back(server: Server, tmp_path: Path) -> None:
    """After --drain-timeout the messages are the broker's again at once, and another run has them."""
    touch = tmp_path / "begun"
    url = publish(server, "GIVE", {"n": 1, "seconds": 60, "touch": str(touch)})
    process = start("--source", url, "--drain-timeout", "0.1", target="rest")
    wait_until(touch.exists)
    process.terminate()
    output, errors = process.communicate(timeout=BOUND)
    assert (output, process.returncode) == (b"", 143)
    assert b"given back to the source: 1" in errors
    done = run("--source", url, "--until-empty", "-q", target="echo")
    assert [line["ok"]["n"] for line in lines_of(done.stdout)] == [1]


def test_a_reader_that_goes_away_ends_it(server: Server) -> None:
    """What was not written is not acknowledged, and the end is quiet."""
    url = publish(server, "PIPE", *range(3000))
    process = start("--source", url, "--in-flight", "100")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["id"] == 1
    process.stdout.close()
    assert process.wait(BOUND) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--source", "kafka://host/topic"), "--source: 'kafka://host/topic' is no source"),
        (("--source", "@nowhere"), "cannot read nowhere: No such file"),
        (("--source", "nats://host/S", "lines.ndjson"), "FILE cannot be combined with --source"),
        (
            ("--source", "nats://host/S", "--journal", "j"),
            "--journal cannot be combined with --source: the broker keeps",
        ),
        (("--source", "nats://host/S", "--fail-fast"), "--fail-fast cannot be combined with --source"),
        (("--until-empty",), "--until-empty is for runs with --source"),
        (("--max-attempts", "3"), "--max-attempts is for runs with --source"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(options: tuple[str, ...], words: str) -> None:
    """Status 2, and no traceback."""
    done = run(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broker_that_is_not_there_is_told() -> None:
    """Status 1 and one line: it may come, and the command be started again."""
    done = run("--source", f"nats://me:secret@127.0.0.1:{free_port()}/S", "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    assert "event-collector run: the NATS server of stream 'S' cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
