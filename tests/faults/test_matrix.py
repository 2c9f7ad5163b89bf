"""The fault matrix has no empty cell, each test that it names is one that the suite runs, and the docs say the same."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.faults.matrix import FAULTS, MODES, Fault, page

ROOT = Path(__file__).parents[2]
ROWS = [fault for faults in FAULTS.values() for fault in faults]


def named(row: Fault) -> list[str]:
    return [test for tests in row.tests.values() for test in tests]


@pytest.fixture(scope="module")
def tests(every_test: frozenset[str]) -> frozenset[str]:
    """What pytest has of the files that are named, the slow tests included."""
    files = {path_of(test.partition("::")[0]) for row in ROWS for test in named(row)}
    if files <= {test.partition("::")[0] for test in every_test}:
        return every_test
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-n", "0"]
    done = subprocess.run(
        [*command, *sorted(files)], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return frozenset(line for line in done.stdout.splitlines() if "::" in line)


@cache
def path_of(file: str) -> str:
    """Return the path of the test file of that name, in a folder of tests or in a room of it."""
    folder, name = file.split("/")
    (path,) = (ROOT / "tests" / folder).rglob(f"test_{name}.py")
    return str(path.relative_to(ROOT))


def is_collected(test: str, tests: frozenset[str]) -> bool:
    """Whether pytest has a test of this name, with parameters of which `[PART` is a part."""
    file, _, rest = test.partition("::")
    name, _, part = rest.partition("[")
    head = f"{path_of(file)}::test_{name}"
    found = [one for one in tests if one == head or one.startswith((f"{head}[", f"{head}::"))]
    return any(part in one[len(head) :] for one in found)


def test_every_fault_has_its_row() -> None:
    """The 44 that the list began with, in their order, and the parts of an application that fail."""
    names = [row.name for row in ROWS]
    assert [name for name in names if name.isdigit()] == [str(number) for number in range(1, 45)]
    assert {"lifecycle", "router", "bus handler", "event loop"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_cell_is_empty(row: Fault) -> None:
    """Each column has a test, or the row says why it has no such fault."""
    cells = row.cells()
    assert cells
    assert set(cells) <= set(MODES)
    assert all(cells.values())
    assert bool(row.elsewhere) == (set(cells) != set(MODES)), "say why, where columns are missing, and only there"
    assert all("|" not in text and text.endswith(".") for text in (row.holds, row.elsewhere or "."))


def test_every_test_that_is_named_is_collected(tests: frozenset[str]) -> None:
    """A test that was renamed, or is no longer found, has to be named anew."""
    missing = {test: row.name for row in ROWS for test in named(row) if not is_collected(test, tests)}
    assert not missing
    assert not is_collected("faults/chaos::no_such_test", tests)
    assert not is_collected("faults/signals::the_second_signal_ends_it_at_once[telepathy", tests)


def test_the_page_is_the_matrix() -> None:
    """docs/faults.md is what `python -m tests.faults.matrix` prints."""
    assert (ROOT / "docs" / "faults.md").read_text() == page(), "run python -m tests.faults.matrix > docs/faults.md"
