"""What the tests of the command share: no process outlives its test."""

from collections.abc import Iterator

import pytest

from .running import reap


@pytest.fixture(autouse=True)
def no_process_stays() -> Iterator[None]:
    """Kill what a failed test has left behind, so that only this test fails."""
    yield
    reap()
