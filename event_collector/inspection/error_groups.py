"""Errors of handlers, grouped by collector, class and first line. Their number and size are bounded."""

from typing import Any, Final, NamedTuple

from event_collector.events.letter_groups import first_line
from event_collector.watching.details import ErrorGroup
from event_collector_workers.error_texts import text_of

MOST: Final = 50
"""Groups that are kept: those with the newest errors."""
LONGEST_TRACE: Final = 4000
"""Characters. The end of a traceback is the part that tells."""
AT_ONCE: Final = 500
"""Errors between two lines of details that are looked at. Others are counted only: texts of errors take time."""


class ErrorName(NamedTuple):
    """What the errors of a group have in common, beside their collector."""

    kind: str
    line: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.line}" if self.kind and self.line else self.kind or self.line


def name_of(error: object) -> ErrorName:
    """Return the class of an error and the first line of its message; an error that is no exception has no class."""
    kind = type(error).__qualname__ if isinstance(error, BaseException) else ""
    return ErrorName(kind, first_line(text_of(error)))


def last_part(trace: object) -> str:
    """Return the end of a traceback."""
    text = str(trace).rstrip("\n")
    return text if len(text) <= LONGEST_TRACE else "..." + text[3 - LONGEST_TRACE :]


class _ErrorCount:
    """The errors of one group."""

    def __init__(self, first: float) -> None:
        self.count, self.first = 0, first

    def add(self, now: float, event: int, trace: object, payload: str | None) -> None:
        self.count += 1
        self.last, self.event, self.trace, self.payload = now, event, trace, payload


class ErrorGroups:
    """Groups errors. Times are those of the queue's clock.

    Attributes:
        ungrouped: errors that are in no group any more, or never were.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ErrorName], _ErrorCount] = {}  # that of the newest error is the last
        self.ungrouped = 0
        self._room = AT_ONCE

    def __repr__(self) -> str:
        return f"<ErrorGroups {len(self._groups)} groups, {self.ungrouped} errors ungrouped>"

    def admits(self) -> bool:
        """Return whether an error may be looked at now; count one that may not."""
        self._room -= 1
        if self._room < 0:
            self.ungrouped += 1
        return self._room >= 0

    def add(
        self, collector: str, name: ErrorName, now: float, *, event: int, trace: Any, payload: str | None = None
    ) -> None:
        """Add an error of a collector, which an attempt for this event ended with."""
        key = collector, name
        group = self._groups.pop(key, None) or _ErrorCount(now)
        group.add(now, event, trace, payload)
        self._groups[key] = group
        if len(self._groups) > MOST:
            self.ungrouped += self._groups.pop(next(iter(self._groups))).count

    def look(self, offset: float) -> list[ErrorGroup]:
        """Return the groups, that of the newest error first; `offset` makes an instant of a time."""
        self._room = AT_ONCE
        return [
            ErrorGroup(
                collector=collector,
                kind=name.kind,
                line=name.line,
                count=group.count,
                first=group.first + offset,
                last=group.last + offset,
                event=group.event,
                traceback=last_part(group.trace),
                payload=group.payload,
            )
            for (collector, name), group in reversed(self._groups.items())
        ]
