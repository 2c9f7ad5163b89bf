"""The progress of the job that a worker runs, for the code of the job."""

from collections.abc import Callable
from typing import Final

_pages: Final[list[Callable[[float, float | None, str], None]]] = []


def report_by(report: Callable[[float, float | None, str], None]) -> None:
    """Have jobs of this process report by `report`; a fork of it reports nowhere."""
    _pages.append(report)


def report_progress(done: float, total: float | None, note: str) -> bool:
    """Publish how far the current job has come. Return False if this process is no worker."""
    for report in _pages:
        report(float(done), total, note)
        return True
    return False
