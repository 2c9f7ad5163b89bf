"""`python -m bench.bytecodes`: that it still counts what it says, with few events."""

import sys

import pytest

from bench.bytecodes import FIGURES, count_ours


@pytest.mark.skipif(sys.version_info < (3, 12), reason="bytecodes can be counted since Python 3.12")
@pytest.mark.parametrize("figure", FIGURES)
def test_figures_are_counted(figure: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Some hundred bytecodes an event in all, and the functions that they belong to."""
    count_ours([figure], 200)
    title, total, *functions = capsys.readouterr().out.strip().splitlines()
    assert title.startswith(figure)
    assert 100 < float(total.split()[0]) < 100_000
    assert len(functions) >= 10
