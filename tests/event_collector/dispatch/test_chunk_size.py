"""The size of a chunk: it follows the measured time, and no worker gets more than its share."""

from hypothesis import given
from hypothesis import strategies as st

from event_collector.dispatch.chunk_size import (
    CHUNK_BYTES,
    CHUNK_SECONDS,
    GROWTH,
    MOST_VALUES,
    ValuePace,
    chunk_size,
    values_ahead,
)

measurements = st.lists(
    st.tuples(st.integers(1, 5000), st.floats(0, 100), st.integers(0, 10**9)), min_size=1, max_size=20
)


def pace_of(measured: list[tuple[int, float, int]]) -> ValuePace:
    pace = ValuePace()
    for count, seconds, size in measured:
        pace = pace.measured(count, seconds, size)
    return pace


@given(measurements, st.integers(1, 10**6), st.integers(1, 500))
def test_a_chunk_is_no_larger_than_its_bounds(
    measured: list[tuple[int, float, int]], waiting: int, workers: int
) -> None:
    """At least one value, at most those that wait, and a fair share of these."""
    pace = pace_of(measured)
    size = chunk_size(pace, waiting, workers, None)
    assert 1 <= size <= min(waiting, MOST_VALUES)
    assert size == 1 or size <= waiting / workers
    assert values_ahead(pace, workers) >= workers


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_given_size_is_kept(waiting: int, most: int) -> None:
    assert chunk_size(ValuePace(), waiting, 4, most) == min(waiting, most)


@given(st.floats(1e-7, 10), st.integers(0, 10**7))
def test_a_chunk_takes_some_milliseconds_once_the_pace_is_known(seconds: float, size: int) -> None:
    """From one value on, it grows by a factor at most, until a chunk takes its time or has its bytes."""
    pace = ValuePace()
    assert chunk_size(pace, 10**9, 1, None) == 1
    for _ in range(8):
        count = chunk_size(pace, 10**9, 1, None)
        pace = pace.measured(count, count * seconds, count * size)
        assert chunk_size(pace, 10**9, 1, None) <= GROWTH * count
    count = chunk_size(pace, 10**9, 1, None)
    assert count == 1 or (count * seconds <= 1.01 * CHUNK_SECONDS and count * size <= 1.01 * CHUNK_BYTES)
    more = count + 1
    assert count == MOST_VALUES or 1.01 * more * seconds > CHUNK_SECONDS or 1.01 * more * size > CHUNK_BYTES


def test_one_odd_value_does_not_make_chunks_small() -> None:
    """A value that was slow by chance weighs as one value."""
    pace = pace_of([(1000, 0.004, 3000)] * 5)
    assert pace.measured(1, 0.005, 3).largest > pace.largest / 2


def test_another_stream_begins_with_what_is_known() -> None:
    """With a part of the size, since its values may be unlike: a chunk of slow ones is soon smaller."""
    pace = pace_of([(1000, 0.01, 3000)] * 5)
    resumed = pace.resumed()
    assert chunk_size(resumed, 10**9, 1, None) == pace.largest // GROWTH > 100
    assert resumed.measured(100, 0.001, 300).largest == pace.largest
    assert resumed.measured(1, 1.0, 3).largest <= 100
    assert ValuePace().resumed() == ValuePace()
