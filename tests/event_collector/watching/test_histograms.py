"""Histograms: cumulative buckets of fixed bounds, made of the windows of times at each look."""

from collections import deque
from typing import NamedTuple

from event_collector.watching.histograms import BOUNDS, Growing, Histograms


class Windows(NamedTuple):
    """What a collector has."""

    events: int
    service_times: deque[float]
    wait_times: deque[float]


def test_each_time_is_counted_once_in_its_bucket() -> None:
    """A time that is a bound is in the bucket below it; those above all bounds are in the last one."""
    growing = Growing()
    growing.take(deque([0.001, 0.0011, 100.0]), 3)
    growing.take(deque([0.0011, 100.0, 0.0001]), 1)
    found = growing.now()
    assert (found.count, round(found.sum, 6)) == (4, 100.0022)
    assert dict(found.cumulative())["0.0005"] == 1
    assert dict(found.cumulative())["0.001"] == 2
    assert dict(found.cumulative())["60.0"] == 3
    assert list(found.cumulative())[-1] == ("+Inf", 4)
    assert len(found.counts) == len(BOUNDS) + 1


def test_a_window_that_is_too_small_stands_for_all_times() -> None:
    """With more new times than it holds, the number is right, and the shares are those of the window."""
    growing = Growing()
    growing.take(deque([0.002, 0.002, 3.0, 3.0]), 100)
    found = growing.now()
    assert (found.count, found.sum) == (100, 50 * 0.002 + 150)
    assert dict(found.cumulative())["1.0"] == 50


def test_what_was_there_before_is_not_counted() -> None:
    """A histogram begins with the first attempt that ends after it was asked for."""
    now = Windows(2, deque([1.0, 1.0]), deque([2.0, 2.0]))
    histograms = Histograms(lambda: {"a": now})
    histograms.look()
    assert [one.count for one in histograms.of("a")] == [0, 0]
    now = Windows(3, deque([1.0, 1.0, 4.0]), deque([2.0, 2.0, 5.0]))
    histograms.look()
    histograms.look()
    assert [one.sum for one in histograms.of("a")] == [4.0, 5.0]
