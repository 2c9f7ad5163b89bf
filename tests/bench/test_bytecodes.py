"""`python -m bench.bytecodes`: it counts what it says, and an event costs no more bytecodes than it may."""

import sys

import pytest

from bench.bytecodes import FIGURES, count_ours

CEILINGS = {"burst": 340, "one-at-a-time": 340, "process-burst": 615, "worker": 330}
"""Bytecodes per event on CPython 3.13. Lower one when the count falls; raise one only with a reason."""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="bytecodes can be counted since Python 3.12")
@pytest.mark.parametrize("figure", FIGURES)
def test_figures_are_counted(figure: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Some hundred bytecodes an event in all, and the functions that they belong to."""
    count_ours([figure], 200)
    title, total, *functions = capsys.readouterr().out.strip().splitlines()
    assert title.startswith(figure)
    assert 100 < float(total.split()[0]) < 100_000
    assert len(functions) >= 10


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="each version of Python has other bytecodes")
@pytest.mark.parametrize("figure", CEILINGS)
def test_events_cost_no_more_bytecodes(figure: str) -> None:
    """The bytecodes of an event stay below their ceiling.

    Those of workers depend on how many answers come at once: a machine that does much beside it has the least of some.
    """
    counts = (count_ours([figure], 5000)[figure] for _ in range(5))
    assert any(count <= CEILINGS[figure] for count in counts)
