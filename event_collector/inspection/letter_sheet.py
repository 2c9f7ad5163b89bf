"""The dead letters of a queue, in groups."""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from event_collector.events.letter_groups import LettersAlike, grouped
from event_collector.inspection.error_groups import last_part
from event_collector.watching.details import DeadLetterGroup, DeadLetterSheet

if TYPE_CHECKING:
    from event_collector.events.dead_letters import DeadLetter, DeadLetters

MOST_LETTERS: Final = 5000
"""Letters that are grouped: the newest ones."""
MOST_GROUPS: Final = 50
LONGEST_ERROR: Final = 4096
"""Characters of the first line of an error."""
MOST_EVENTS: Final = 50
"""Ids in a group."""


class LetterSheet:
    """Groups the letters of one queue when they have changed. `payload_text` is None if payloads are not shown."""

    def __init__(self, letters: "DeadLetters", payload_text: Callable[[Any], str] | None) -> None:
        self._letters, self._payload_text = letters, payload_text
        self._state: object = None
        self._sheet = DeadLetterSheet()

    def __repr__(self) -> str:
        return f"<LetterSheet of {self._sheet.count} letters>"

    def look(self) -> DeadLetterSheet:
        """Return the groups."""
        letters = self._letters
        state = len(letters), letters.lost, letters.newest(1)  # a letter that comes is the newest, one that goes counts
        if state != self._state:
            self._state, self._sheet = state, self._make()
        return self._sheet

    def _make(self) -> DeadLetterSheet:
        letters = self._letters
        groups = grouped(letters.newest(MOST_LETTERS))
        shown = [self._group(*one) for one in islice(groups.items(), MOST_GROUPS)]
        return DeadLetterSheet(
            count=len(letters),
            lost=letters.lost,
            groups=shown,
            ungrouped=len(letters) - sum(group.count for group in shown),
        )

    def _group(self, group: LettersAlike, letters: "list[DeadLetter]") -> DeadLetterGroup:
        newest = letters[0]
        return DeadLetterGroup(
            group=group.id,
            collector=group.collector,
            reason=group.reason,
            error=group.error[:LONGEST_ERROR],
            kind=group.kind,
            line=group.line,
            count=len(letters),
            first=letters[-1].time,
            last=newest.time,
            events=[letter.id for letter in letters[:MOST_EVENTS]],
            traceback=last_part(newest.trace),
            payload=None if self._payload_text is None else self._payload_text(newest.payload.value),
        )
