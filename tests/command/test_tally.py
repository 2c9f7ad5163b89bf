"""The tally, in words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector.command.tally import name_lines


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([7], "line 7"),
        ([1, 2, 3], "lines 1-3"),
        ([9, 3, 5, 4], "lines 3-5, 9"),
        (range(1, 40, 2), "lines 1, 3, 5, 7, 9, 11, 13, 15 and 12 more"),
    ],
)
def test_line_numbers_are_told_as_ranges(numbers: list[int], text: str) -> None:
    """Neighbours are joined, and of many ranges the first ones are named."""
    assert name_lines(numbers) == text


@settings(deadline=None)
@given(st.sets(st.integers(1, 60), min_size=1))
def test_ranges_cover_exactly_the_given_lines(numbers: set[int]) -> None:
    """Every number is named or counted among the rest, and no other."""
    words = name_lines(numbers).removeprefix("lines ").removeprefix("line ")
    named, _, rest = words.partition(" and ")
    covered: set[int] = set()
    for span in named.split(", "):
        start, _, end = span.partition("-")
        covered.update(range(int(start), int(end or start) + 1))
    assert covered <= numbers
    assert len(covered) + (int(rest.removesuffix(" more")) if rest else 0) == len(numbers)
