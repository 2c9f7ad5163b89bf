"""The size of a batch of events in one task of an executor: pure decisions, from measured values."""

from typing import Final

MOST: Final = 512
"""Maximum number of events in one task. Dask, whose tasks cost milliseconds, reaches 6,600 events/s with 64 events in a
task and 88,000 with 512; more gain little."""

BATCH_BYTES: Final = 1024 * 1024
"""Maximum bytes of payloads in a task of several events. Larger payloads gain nothing from sharing a task."""

DEPTH: Final = 2
"""Tasks per slot of an executor: one that runs, and one that starts when the first ends."""


def size_of_batch(waiting: int, free: int | None, limit: int) -> int:
    """Return how many waiting events go into the next task.

    The events are shared out among the free tasks, so that no slot is idle while another has two events. An executor
    with one free task gets all of them in it. `free` is the number of tasks that the executor has room for, or None if
    that is unknown. A task has at most `limit` events. All numbers are at least 1.
    """
    share = waiting if free is None else -(-waiting // free)
    return max(1, min(waiting, share, limit))


def next_limit(limit: int, events: int, seconds: float, latency: float) -> int:
    """Return the maximum number of events in a task, after one has come back.

    It is the number that the handler finishes within `latency` seconds, since the first result of a task waits for its
    last event. It decreases at once. It at most doubles, and only after a full task, because a few short events do not
    predict the next ones. The task had `events` events, at least 1, whose handlers took `seconds` in total.
    """
    reach = 2 * limit if events >= limit else limit
    affordable = MOST if seconds * MOST <= latency * events else int(latency * events / seconds)
    return max(1, min(reach, affordable, MOST))


def capacity_of(slots: int, limit: int) -> int:
    """Return how many events an executor with `slots` slots can use at once."""
    return slots * DEPTH * limit
