"""Signals to a whole program: a row for each fault, with what must hold.

| fault | what must hold | test |
|---|---|---|
| SIGTERM or Ctrl-C: 100 running, 1,000 queued, a busy producer | refused, counted, finished; status | `in_order` |
| a second signal during the drain | out within a second | `at_once` |

The program itself, `sample_service`, checks accepted = finished + in handlers + queued + scheduled + dead.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.event_collector.modes import BOUND

ROOT = Path(__file__).parents[2]
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@contextmanager
def service(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The program of sample_service, once its queue is full of work."""
    command = [sys.executable, "-m", "tests.faults.sample_service", *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'workers'}"}
    program = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield program
    finally:
        program.kill()
        program.communicate(timeout=BOUND)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
def test_a_signal_ends_a_busy_program_in_order(mode: str, loop: str) -> None:
    """100 events running, 1,000 queued, a busy producer: sends are refused, the rest finishes, the status tells."""
    number = SIGNALS[loop == "uvloop"]
    with service(mode, "0.05" if mode == "process" else "0.5", loop) as program:
        program.send_signal(number)
        out, err = program.communicate(timeout=BOUND)
    assert re.fullmatch(r"event_collector: finishing [\d,]+ events; (press Ctrl-C|signal) again to stop now\n", err)
    assert out == "refused\nbalanced=True sent=True lost=0 errors=0\n"
    assert program.returncode == 128 + number


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
def test_the_second_signal_ends_it_at_once(mode: str) -> None:
    """Whatever still runs, the process is gone within a second, with the second signal's status."""
    with service(mode, "60", "asyncio") as program:
        program.send_signal(signal.SIGTERM)
        assert program.stdout is not None
        assert program.stdout.readline() == "refused\n"  # a drain of a minute has begun
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        program.wait(BOUND)
        assert time.monotonic() - began < 1.0 + 4.0  # a busy machine
        assert program.returncode == 128 + signal.SIGINT
