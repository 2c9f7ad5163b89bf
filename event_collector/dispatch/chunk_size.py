"""The size of a chunk: how many values of a stream the next job gets. Pure functions of measured figures."""

from math import ceil
from typing import Final, NamedTuple

CHUNK_SECONDS: Final = 0.012
"""Seconds of work in a chunk. Shorter ones cost the program more, and an event waits behind all that a worker holds."""
LEAST_SECONDS: Final = 0.002
"""Seconds of work in the last chunks. Shorter ones cost more than workers lose that do not finish together."""
CHUNK_BYTES: Final = 1024 * 1024
"""Bytes of values or results in a chunk. Smaller ones wake the program more often."""
MOST_VALUES: Final = 4096
"""Values in a chunk. More gains nothing even if a value takes no time."""
JOBS_PER_WORKER: Final = 3
"""Chunks that a worker may hold: one runs, the others bridge the time until the program looks."""
SHARES: Final = 2
"""Parts that each worker could get of what waits. Near the end chunks shrink, so that workers finish together."""
GROWTH: Final = 8
"""Factor by which chunks grow at most, since the first values may be unlike the others."""
_MEMORY: Final = 0.7
"""Weight that earlier values keep when later ones are measured."""


class ValuePace(NamedTuple):
    """What is known of the values of a stream. Counts and sums fade, so that recent values weigh more."""

    largest: int = 1
    """Values in a chunk, at most."""
    values: float = 0.0
    seconds: float = 0.0
    """Time of these values in their handler."""
    bytes: float = 0.0
    """Size of these values, or of their results if that is larger."""

    def measured(self, count: int, seconds: float, size: int) -> "ValuePace":
        """Return the pace after `count` more values, which took so many seconds and bytes in total."""
        pace = ValuePace(
            self.largest, _MEMORY * self.values + count, _MEMORY * self.seconds + seconds, _MEMORY * self.bytes + size
        )
        return pace._replace(largest=min(wanted_size(pace), GROWTH * max(self.largest, count)))

    def resumed(self) -> "ValuePace":
        """Return the pace that another stream begins with. Its values may be unlike those of this one."""
        return self._replace(largest=max(1, self.largest // GROWTH))


def wanted_size(pace: ValuePace) -> int:
    """Return the number of values that make up a full chunk."""
    by_time = CHUNK_SECONDS * pace.values / pace.seconds if pace.seconds > 0 else MOST_VALUES
    by_size = CHUNK_BYTES * pace.values / pace.bytes if pace.bytes > 0 else MOST_VALUES
    return max(1, int(min(by_time, by_size, MOST_VALUES)))


def chunk_size(pace: ValuePace, waiting: int, workers: int, most: int | None) -> int:
    """Return how many of the `waiting` values, at least 1, the next chunk gets; with `most`, exactly as many if it can.

    A full chunk, but no more than a fair share of what waits.
    """
    if most is not None:
        return min(most, waiting)
    least = int(wanted_size(pace) * LEAST_SECONDS / CHUNK_SECONDS)
    share = max(ceil(waiting / (SHARES * workers)), min(least, waiting // workers))
    return max(1, min(pace.largest, share))


def values_ahead(pace: ValuePace, workers: int) -> int:
    """Return how many values keep the workers busy with full chunks: those in hand, and twice what makes a share full.

    Results that the consumer has not taken yet count, too.
    """
    return pace.largest * workers * (JOBS_PER_WORKER + 2 * SHARES)
