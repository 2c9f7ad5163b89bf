"""The pytest plugin: fixtures for in-process workers and for a clock moved by hand.

pytest loads it in every suite of an environment with this package, so it imports the rest only in the fixtures.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from event_collector.testing.manual_clock import ManualClock


@pytest.fixture
def in_process_workers() -> Iterator[None]:
    """Queues of this test run the handlers of their worker processes in a thread: `event_collector.testing`."""
    from event_collector.testing.in_process import in_process_workers as context

    with context():
        yield


@pytest.fixture
def manual_clock() -> "Iterator[ManualClock]":
    """Time of this test's queues and event loop, moved by hand: `event_collector.testing.ManualClock`."""
    from event_collector.testing.manual_clock import ManualClock

    with ManualClock() as clock:
        yield clock
