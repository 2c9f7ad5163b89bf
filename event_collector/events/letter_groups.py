"""Groups of dead letters: those of one collector with the same reason, class and first line of their errors."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from event_collector.events.dead_letters import DeadLetter

LONGEST_LINE: Final = 200
"""Characters of a line that is shown."""


class LettersAlike(NamedTuple):
    """What the letters of a group have in common."""

    collector: str
    reason: str
    error: str
    """The first line of their errors, the whole of it."""

    @property
    def id(self) -> str:
        """A short text that stands for the group, the same in every program."""
        return sha256("\0".join(self).encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def kind(self) -> str:
        """The class of the error; empty if it is no exception."""
        kind = self.error.partition(": ")[0]
        return kind if kind.replace("<locals>.", "").replace(".", "").isidentifier() else ""

    @property
    def line(self) -> str:
        """The first line of the message, shortened."""
        return first_line(self.error[len(self.kind) :].removeprefix(": "))


def grouped(letters: Iterable[DeadLetter]) -> dict[LettersAlike, list[DeadLetter]]:
    """Return the letters by group, in their order."""
    groups: dict[LettersAlike, list[DeadLetter]] = {}
    for letter in letters:
        alike = LettersAlike(letter.collector, letter.reason, letter.error.partition("\n")[0])
        groups.setdefault(alike, []).append(letter)
    return groups


def first_line(text: str) -> str:
    """Return the first line of a text, shortened."""
    line = text.strip().partition("\n")[0].rstrip()
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + "..."
