"""How a program with a queue ends, and what it leaves: killed, interrupted, at any moment, with its output blocked."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.command.running import wait_until
from tests.faults.programs import group_of, is_gone_within, line_from, program

START_METHODS = ["forkserver", "spawn"]
QUEUE = """
    async def main():
        say("started")
        collector = Collector("c", act, mode="process")
        async with CollectorQueue([collector], logging=False, min_workers={least}, max_workers=3,
                                  start_method={start_method!r}) as queue:
            publisher = queue.get_publisher()
            {body}
"""


def queue_program(body: str, start_method: str = "forkserver", least: int = 3) -> str:
    body = ("\n" + " " * 12).join(body.strip().splitlines())
    return QUEUE.format(start_method=start_method, least=least, body=body)


@pytest.mark.parametrize("start_method", START_METHODS)
def test_nothing_outlives_a_program_that_is_killed(start_method: str, tmp_path: Path) -> None:
    """SIGKILL in the middle of work and of large values: no process is left after 2 s, no shared memory, no file."""
    body = """
value = bytes(64 * 1024 * 1024)
def flood():
    return [publisher.send(Payload(["large", len(value)])), publisher.send(Payload(["sleep", 60]))]
for _ in range(2):
    for sending in flood():
        await sending
say("up")
while True:
    await publisher.send(Payload(["large", len(value)]))
    await asyncio.sleep(0.01)
"""
    shared = set(os.listdir("/dev/shm"))
    for round_number in range(3):
        with program(tmp_path, queue_program(body, start_method)) as process:
            assert [line_from(process), line_from(process)] == ["started", "up"]
            time.sleep(0.03 * round_number)
            assert len(group_of(process.pid)) >= 4
            process.kill()
            assert is_gone_within(process.pid, 2.0)
    wait_until(lambda: set(os.listdir("/dev/shm")) <= shared)  # other tests beside this one have some for a moment
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("start_method", START_METHODS)
def test_ctrl_c_ends_the_program_and_not_the_events(start_method: str, tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the group; only the program acts on it, and what runs may finish."""
    body = """
events = [await publisher.send(Payload(["sleep", 0.5])) for _ in range(3)]
await asyncio.sleep(0.1)
stop = asyncio.Event()
asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
say("up")
await stop.wait()
say([(await event.wait()).first().unwrap() for event in events])
"""
    with program(tmp_path, queue_program(body, start_method)) as process:
        assert [line_from(process), line_from(process)] == ["started", "up"]
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30)[1] == "[None, None, None]\n"
        assert process.returncode == 0
        assert is_gone_within(process.pid, 2.0)


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("start_method", START_METHODS)
def test_an_interrupt_at_any_moment_leaves_nothing(start_method: str, rounds: int, tmp_path: Path) -> None:
    """Ctrl-C while workers start, grow, shrink or end: the program is gone soon, and so is every process of it."""
    body = """
say("up")
for number in range(1000):
    queue._engine._tiers.workers.groups["default"].resize(1 + number % 3)
    await publisher.send(Payload(["sleep", 0.01]))
    await asyncio.sleep(0.005)
"""
    moment = random.Random(rounds)
    for _ in range(rounds):
        with program(tmp_path, queue_program(body, start_method, least=1)) as process:
            assert line_from(process) == "started"
            if moment.random() < 0.5:
                assert line_from(process) == "up"
            time.sleep(moment.uniform(0.0, 0.5))
            os.killpg(process.pid, moment.choice([signal.SIGINT, signal.SIGTERM]))
            err = process.communicate(timeout=30)[1]
            assert is_gone_within(process.pid, 2.0)
            assert "never awaited" not in err
            assert "Exception ignored" not in err
            assert not re.search(r"^Process \S+:$", err, re.MULTILINE)  # no traceback of a worker
            assert err.count("Traceback") <= err.count("KeyboardInterrupt") + err.count("CancelledError")
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("megabytes", [32, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_handler_that_prints_without_end_blocks_nobody_else(megabytes: int, tmp_path: Path) -> None:
    """While nobody reads what a handler prints, other events go on; when somebody does, all of it comes."""
    body = f"""
printing = await publisher.send(Payload(["print", {megabytes}]))
for _ in range(200):
    assert (await (await publisher.send(Payload(["pid", 0]))).wait()).first().unwrap()
assert not printing.is_done()
say("others went on")
say((await printing.wait()).first().unwrap())
"""
    with program(tmp_path, queue_program(body)) as process:
        assert line_from(process) == "started"
        assert line_from(process) == "others went on"
        assert process.stdout is not None
        total = sum(len(chunk) for chunk in iter(lambda: process.stdout.read(1024 * 1024), ""))
        assert total == megabytes * 1024 * 1024
        assert line_from(process) == str(megabytes)
        assert process.wait(timeout=30) == 0


def test_a_handler_that_prints_to_nobody_gets_an_error(tmp_path: Path) -> None:
    """With the reader of the output gone, printing is an Error of the event, and the worker goes on."""
    body = """
say("up")
sys.stdin.readline()
for _ in range(3):
    result = (await (await publisher.send(Payload(["print", 1]))).wait()).first()
    say(type(result.err).__name__)
say((await (await publisher.send(Payload(["sleep", 0]))).wait()).first().unwrap())
"""
    with program(tmp_path, queue_program(body), stdin=subprocess.PIPE) as process:
        assert [line_from(process), line_from(process)] == ["started", "up"]
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.close()
        process.stdin.write("go\n")
        process.stdin.flush()
        assert [line_from(process) for _ in range(4)] == ["BrokenPipeError"] * 3 + ["None"]
        assert process.wait(timeout=30) == 0
