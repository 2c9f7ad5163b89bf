"""Dead letters as they are shown and selected from outside: groups by collector and error, and single ones."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from event_collector.control.control_messages import MOST_LETTERS, LetterGroup, LetterPage, LetterSummary, Selection
from event_collector.events.dead_letters import DeadLetter
from event_collector_workers.error_texts import line_of, shortened

LONGEST_TEXT: Final = 4096
"""Characters of a traceback or an error that an answer has."""


def selected(letters: Iterable[DeadLetter], selection: Selection) -> list[DeadLetter]:
    """Return the letters that match all fields of the selection, the oldest first."""
    return [letter for letter in letters if _matches(letter, selection)]


def page_of(letters: list[DeadLetter], limit: int, *, shows_payloads: bool) -> LetterPage:
    """Return what an answer has of these letters: their groups, and the newest of them."""
    groups: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault((letter.collector, first_line(letter.error)), []).append(letter)
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))[:MOST_LETTERS]
    newest = letters[::-1][:limit]
    return LetterPage(
        total=len(letters),
        groups=[_group(*key, members) for key, members in largest],
        letters=[_summary(letter, shows_payloads=shows_payloads) for letter in newest],
    )


def first_line(error: str) -> str:
    """Return the class and first line of an error."""
    return error.partition("\n")[0]


def _matches(letter: DeadLetter, selection: Selection) -> bool:
    line = first_line(letter.error)
    return (
        selection.event in (None, letter.id)
        and selection.collector in (None, letter.collector)
        and selection.reason in (None, letter.reason)
        and selection.error in (None, line, line.partition(":")[0])
    )


def _group(collector: str, error: str, letters: list[DeadLetter]) -> LetterGroup:
    times = [letter.time for letter in letters]
    return LetterGroup(
        collector=collector,
        error=error,
        count=len(letters),
        first=min(times),
        last=max(times),
        reasons=dict(Counter(letter.reason for letter in letters)),
        trace=shortened(letters[-1].trace, LONGEST_TEXT),
    )


def _summary(letter: DeadLetter, *, shows_payloads: bool) -> LetterSummary:
    return LetterSummary(
        event=letter.id,
        collector=letter.collector,
        attempts=letter.attempts,
        reason=letter.reason,
        error=shortened(letter.error, LONGEST_TEXT),
        trace=shortened(letter.trace, LONGEST_TEXT),
        time=letter.time,
        payload=line_of(letter.payload.value) if shows_payloads else None,
    )
