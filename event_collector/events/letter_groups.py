"""Groups of dead letters: those of one collector with the same reason, class and first line of their errors."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from event_collector.events.dead_letters import DeadLetter

LONGEST_LINE: Final = 200
"""Characters of a line."""


class LetterGroup(NamedTuple):
    """What the letters of a group have in common."""

    collector: str
    reason: str
    kind: str
    """The class of the error; empty if it is no exception."""
    line: str

    @property
    def id(self) -> str:
        """A short text that stands for the group, the same in every program."""
        return sha256("\0".join(self).encode(errors="surrogatepass")).hexdigest()[:16]


def group_of(letter: DeadLetter) -> LetterGroup:
    """Return the group of a letter."""
    kind, _, line = first_line(letter.error).partition(": ")
    if not kind.replace("<locals>.", "").replace(".", "").isidentifier():
        kind, line = "", first_line(letter.error)
    return LetterGroup(letter.collector, letter.reason, kind, line)


def first_line(text: str) -> str:
    """Return the first line of a text, shortened."""
    line = text.strip().partition("\n")[0].rstrip()
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + "..."


def grouped(letters: Iterable[DeadLetter]) -> dict[LetterGroup, list[DeadLetter]]:
    """Return the letters by group, in their order."""
    groups: dict[LetterGroup, list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault(group_of(letter), []).append(letter)
    return groups
