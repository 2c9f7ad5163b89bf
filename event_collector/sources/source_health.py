"""The health of a source: whether it gives messages and settles them, and its last error."""

from typing import Any

from event_collector.values.clock import clock
from event_collector.values.errors import SourceError
from event_collector_workers.error_texts import error_text


class SourceHealth:
    """What the calls of one source have come to. Logs the first failure after a success, and the end of a loss."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.is_lost = False
        """Whether it gives no messages."""
        self.is_failing = False
        """Whether the last call that settles or extends has failed."""
        self.last_error, self.last_error_time = "", 0.0

    def __repr__(self) -> str:
        return f"<SourceHealth lost={self.is_lost} failing={self.is_failing} {self.last_error!r}>"

    def note(self, exc: Exception) -> None:
        """Keep an error as the last one."""
        self.last_error, self.last_error_time = error_text(exc), clock.wall()

    def lose(self, exc: SourceError) -> None:
        """Note that it gives no messages."""
        self.note(exc)
        if not self.is_lost:
            self._log.warning("the source gives no messages; it is asked again", reason=str(exc))
        self.is_lost = True

    def find(self) -> None:
        """Note that it gives messages."""
        if self.is_lost:
            self._log.warning("the source answers again")
        self.is_lost = False

    def fail(self, exc: SourceError) -> None:
        """Note that it has not settled or extended messages."""
        self.note(exc)
        if not self.is_failing:
            self._log.warning("the source cannot settle messages; they may be delivered again", reason=str(exc))
        self.is_failing = True

    def settle(self) -> None:
        """Note that it has settled messages."""
        self.is_failing = False
