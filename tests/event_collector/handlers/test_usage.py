"""Counts and times of a collector's handler."""

from event_collector.handlers.usage import Usage


def figures(usage: Usage) -> tuple[int, int, int, float]:
    return usage.running, usage.completions, usage.errors, usage.wall


def test_attempts_are_counted_from_their_beginning_to_their_end() -> None:
    """One that has begun is running; one that has ended is completed, and its time is in the total."""
    usage = Usage()
    for _ in range(4):
        usage.began()
    usage.ended(0.5)
    usage.failed()
    assert figures(usage) == (3, 1, 1, 0.5)
    usage.ended_together([1.0, 2.0])
    assert figures(usage) == (1, 3, 1, 3.5)


def test_one_that_was_withdrawn_is_not_completed() -> None:
    """It is no longer running, and that is all; its time may be counted before it leaves."""
    usage = Usage()
    usage.began()
    usage.left()
    assert figures(usage) == (0, 0, 0, 0.0)
    usage.began()
    usage.took(2.0)
    assert figures(usage) == (1, 1, 0, 2.0)


def test_times_are_kept_only_where_they_are_asked_for() -> None:
    """After keep() there are the times of the last events, however their ends were counted; before there are none."""
    usage = Usage()
    usage.ended(9.0)
    usage.waited(9.0)
    assert (usage.times, usage.waits) == (None, None)
    usage.keep(3)
    usage.ended(1.0)
    usage.ended_together([2.0, 3.0, 4.0])
    usage.waited(5.0)
    assert (list(usage.times or ()), list(usage.waits or ())) == ([2.0, 3.0, 4.0], [5.0])


def test_the_totals_can_be_those_of_the_queue() -> None:
    """A queue with one collector counts its events itself."""
    usage = Usage()
    usage.began()
    usage.set_totals(10, 20.0)
    assert figures(usage) == (1, 10, 0, 20.0)
