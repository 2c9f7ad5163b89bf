"""How many events travel in one task of an executor: pure decisions, from values that were measured."""

from typing import Final

MOST: Final = 512
"""Events in one task. With Dask, whose tasks cost milliseconds, more gain little: 6,600 events/s at 64 a task, 88,000
at 512."""

BATCH_BYTES: Final = 1024 * 1024
"""Bytes of payloads in one task, of more than one event. What is larger than this gains nothing from company."""

DEPTH: Final = 2
"""Tasks for each place of an executor: one that runs, and the next one, which is there when the first one ends."""


def size_of_batch(waiting: int, free: int | None, limit: int) -> int:
    """Return how many of the events that wait go into the next task.

    What waits is shared out among the tasks that there is room for, so that no place is idle while another has two
    events; where there is one place, all wait for it and travel together.

    Args:
        waiting: events that wait, at least 1.
        free: tasks that the executor has room for, at least 1; None where that is not known.
        limit: the most that a task may have, at least 1.

    """
    share = waiting if free is None else -(-waiting // free)
    return max(1, min(waiting, share, limit))


def next_limit(limit: int, events: int, seconds: float, latency: float) -> int:
    """Return how many events a task may have after one has come back.

    As many as the handler gets through within `latency`, since the first result of a task waits for its last event.
    Down at once; up by doubling, after a task that was full: a few short events do not tell what the next take.

    Args:
        limit: what it was, at least 1.
        events: how many the task had, at least 1.
        seconds: what their handlers took together.
        latency: seconds that they may take.

    """
    reach = 2 * limit if events >= limit else limit
    affordable = MOST if seconds * MOST <= latency * events else int(latency * events / seconds)
    return max(1, min(reach, affordable, MOST))


def room_for(slots: int, limit: int, in_hand: int) -> int:
    """Return how many more events an executor can use.

    Args:
        slots: tasks that it runs at once, at least 1.
        limit: events that a task may have.
        in_hand: events that it has.

    """
    return max(0, slots * DEPTH * limit - in_hand)
