"""What events took: seconds on the wall, and of CPU time, which the other programs of a machine disturb less."""

from time import perf_counter, process_time

__all__ = ["Stopwatch"]


class Stopwatch:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._cpu = process_time()
        self._wall = perf_counter()

    def per_event(self, events: int) -> dict[str, float]:
        """Return the seconds of an event, on the wall and of CPU time."""
        wall, cpu = perf_counter() - self._wall, process_time() - self._cpu
        return {"seconds": wall / events, "cpu seconds": cpu / events}
