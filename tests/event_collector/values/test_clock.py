"""The clock of all queues, and sources of time that replace its own."""

import time
from contextlib import suppress

from event_collector.values.clock import Clock, TimeSource


class Fixed(TimeSource):
    """Time that stands still."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return -self.seconds


def test_a_clock_tells_real_time() -> None:
    clock = Clock()
    assert time.monotonic() <= clock.now() <= clock.read() <= time.monotonic()
    assert time.time() <= clock.wall() <= time.time()
    assert clock.source.patience(5.0) == 5.0


def test_a_source_is_used_within_its_context_only() -> None:
    """Contexts nest, and one that is left by an error puts the source before it back."""
    clock = Clock()
    stored = clock.read
    with clock.using(Fixed(1.0)):
        with suppress(KeyError), clock.using(Fixed(2.0)):
            assert (clock.now(), stored(), clock.wall()) == (2.0, 2.0, -2.0)
            raise KeyError
        assert (clock.now(), stored(), clock.wall()) == (1.0, 1.0, -1.0)
    assert time.monotonic() <= stored() <= time.monotonic()
