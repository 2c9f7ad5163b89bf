"""The progress that handlers in the program itself have reported: coroutines and threads of one queue."""

from collections.abc import Callable
from typing import Final

from event_collector.handlers.progress_reports import RunningProgress

MOST: Final = 10_000
"""Events whose progress is kept. One more replaces the one that has reported nothing for the longest time."""


class ProgressBoard:
    """The last report of each event and collector. Threads of handlers add, the event loop removes."""

    def __init__(self) -> None:
        self._reports: dict[tuple[int, str | None], RunningProgress] = {}

    def post(self, report: RunningProgress) -> None:
        """Keep a report in place of the one before."""
        reports, place = self._reports, (report.event_id, report.collector)
        reports.pop(place, None)
        reports[place] = report
        if len(reports) > MOST:
            reports.pop(next(iter(reports), place), None)

    def of_running(self, running: Callable[[], set[int]]) -> list[RunningProgress]:
        """Return the reports of events that are in handlers. `running` returns the ids of these."""
        if not self._reports:
            return []
        ids = running()
        for place in list(self._reports):
            if place[0] not in ids:
                self._reports.pop(place, None)
        return list(self._reports.values())

    def __repr__(self) -> str:
        return f"<ProgressBoard {len(self._reports)} reports>"
