"""The examples of the documentation run, and do what they say."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BOUND = 100.0
"""Seconds after which a script counts as hanging."""


def run(script: Path, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *options, str(script)],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        timeout=BOUND,
        check=False,
    )


def test_first_script_prints_its_results_in_order() -> None:
    """A hundred events of 0.25 s take hardly longer than one, and come out as they went in."""
    done = run(EXAMPLES / "example_collector_queue.py")
    assert done.returncode == 0, done.stderr
    results = [line for line in done.stdout.splitlines() if line.startswith("{'id'")]
    assert [re.findall(r"payload-\d+", line) for line in results] == [[f"payload-{n}"] for n in range(100)]
    elapsed = float(re.findall(r"^elapsed=(.*)$", done.stdout, re.MULTILINE)[0])
    assert 0.25 <= elapsed < 2.5


def test_first_script_has_no_more_lines_than_a_newcomer_reads() -> None:
    """The survey of the standard library stays below a hundred lines."""
    assert len((EXAMPLES / "stdlib_survey.py").read_text().splitlines()) < 100


SMALL_SURVEY = """
import asyncio, sys
sys.path.insert(0, {examples!r})
import stdlib_survey as survey

if __name__ == "__main__":
    {prepare}
    files = sorted(survey.LIBRARY.glob("json/*.py")) + sorted(survey.LIBRARY.glob("a*.py"))
    files += [survey.Path({broken!r})]
    asyncio.run(survey.main([str(file) for file in files]))
"""


@pytest.mark.parametrize("prepare", ["", "survey.track = None"], ids=["rich", "plain"])
def test_survey_finds_the_same_in_both_modes(tmp_path: Path, prepare: str) -> None:
    """On a part of the library: equal totals, a report of what is in the files, a broken one counted apart."""
    library = Path(sysconfig.get_path("stdlib"))
    broken = next(library.glob("**/badsyntax_*.py"), None)
    if broken is None:
        pytest.skip("this Python came without the tests of its library, which hold a broken file")
    script = tmp_path / "small_survey.py"
    script.write_text(
        SMALL_SURVEY.format(examples=str(EXAMPLES), prepare=prepare or "pass", broken=str(broken))
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "Both found the same." in done.stdout
    assert "raw_decode" not in done.stderr
    assert re.search(r"^ +1 more files that are no valid Python$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +\d[\d,]* functions$", done.stdout, re.MULTILINE)
    assert "json/decoder.py" in done.stdout or "argparse.py" in done.stdout
