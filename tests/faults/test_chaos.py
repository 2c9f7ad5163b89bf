"""A short run of the chaos, and that its proof can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from .chaos import ROOT, Told

SOUND = """\
started 1
accepted 1-0-0 1 2
accepted 1-0-1 2 1
finished 1-0-0 1 1 2
started 2
finished 1-0-1 2 2 1
drained
"""


@pytest.mark.timeout(240)
def test_nothing_is_lost_in_a_short_run() -> None:
    """Five seconds of it, with a fixed seed: the proof holds, and says so."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.chaos", "--seconds", "5", "--seed", "7"],
        cwd=ROOT, capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every accepted event is finished, once in each life, and none is missing" in done.stdout


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("finished 1-0-1 2 2 1\n", "", "1 accepted events never finished: ['1-0-1']"),
        ("finished 1-0-0 1 1 2\n", "finished 1-0-0 1 1 2\n" * 2, "event 1-0-0 finished 2 times in life 1"),
        ("finished 1-0-0 1 1 2\n", "finished 1-0-0 1 1 1\n", "event 1-0-0 has 1 results in life 1, not 2"),
        ("finished 1-0-1 2 2 1\n", "finished 1-0-1 3 2 1\n", "event 1-0-1 had the ids ['2', '3']"),
        ("started 2\n", "wrong Accounting\n", "wrong Accounting"),
        ("drained\n", "", "the last life did not finish"),
    ],
)
def test_the_proof_finds_what_does_not_hold(tmp_path: Path, before: str, after: str, problem: str) -> None:
    """An event that is missing, or finished twice, or with other results, or under another id."""
    output = tmp_path / "output"
    output.write_text(SOUND)
    assert Told(output).problems() == []
    output.write_text(SOUND.replace(before, after))
    assert Told(output).problems() == [problem]
