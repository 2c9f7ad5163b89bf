"""Three programs on one stream, killed at random, with the broker killed in between; and that the proof can fail."""

import subprocess
import sys

import pytest

from .chaos import ROOT
from .source_chaos import problems


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(400)])])
def test_no_message_is_lost(seconds: int) -> None:
    """Every message that the broker accepted is done, or a dead letter; duplicates are counted."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.source_chaos", "--seconds", str(seconds), "--seed", "7"],
        cwd=ROOT, capture_output=True, text=True, timeout=seconds + 110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every message is done or a dead letter, and none is missing" in done.stdout
    assert "x broker killed" in done.stdout
    assert "x program ended by" in done.stdout


@pytest.mark.parametrize(
    ("accepted", "succeeded", "dead", "problem"),
    [
        ({1, 2, 50}, {1, 2}, [50], None),
        ({1, 2, 50}, {1}, [50], "1 messages are missing: [2]"),
        ({1, 50}, {1, 50}, [], "messages that fail are no dead letters: [50]"),
        ({1, 50}, {1}, [50, 50], "messages are dead letters twice: [50]"),
        (set(), set(), [], "no message was accepted"),
    ],
)
def test_the_proof_finds_what_does_not_hold(
    accepted: set[int], succeeded: set[int], dead: list[int], problem: str | None
) -> None:
    """A message that is missing, one that should have failed, one that is dead twice, and nothing at all."""
    assert problems(accepted, succeeded, dead) == ([problem] if problem else [])
