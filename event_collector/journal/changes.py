"""What is to be written to a journal at once, and how later changes take the place of earlier ones."""

from event_collector.journal.record import Letter, Record

__all__ = ["Changes"]


class Changes:
    """Changes of events and dead letters; `JournalFile.apply()` writes them in the order of these attributes."""

    __slots__ = ("inserted", "attempted", "crashed", "buried", "finished", "dropped", "given")  # noqa: RUF023

    def __init__(self) -> None:
        self.inserted: dict[int, Record] = {}
        self.attempted: dict[int, bytes] = {}
        """The progress of those that wait for another attempt."""
        self.crashed: set[int] = set()
        """A program died while handlers had these."""
        self.buried: dict[tuple[int, str], Letter] = {}
        self.finished: set[int] = set()
        self.dropped: set[tuple[int, str]] = set()
        """Dead letters that are not kept, by event and collector."""
        self.given = 0
        """An id that was given, so that no event to come may have it or a lower one; 0 for none."""

    def attempt(self, number: int, progress: bytes) -> None:
        """An attempt has ended, and was not the last."""
        self.attempted[number] = progress

    def finish(self, number: int) -> None:
        """The event is done. Of one that was not even written yet nothing is left to write."""
        self.attempted.pop(number, None)
        if self.inserted.pop(number, None) is None:
            self.finished.add(number)

    def bury(self, letter: Letter) -> None:
        """A collector has failed for good."""
        self.buried[letter.record.id, letter.collector] = letter

    def drop(self, number: int, collector: str) -> None:
        """A dead letter is not kept."""
        if self.buried.pop((number, collector), None) is None:
            self.dropped.add((number, collector))

    def precede(self, later: "Changes") -> None:
        """Put these changes, which could not be written, before later ones; these take them over."""
        self.attempted |= later.attempted
        self.inserted |= later.inserted
        self.crashed |= later.crashed
        self.buried |= later.buried
        self.given = max(self.given, later.given)
        for number in later.finished:
            self.finish(number)
        for letter in later.dropped:
            self.drop(*letter)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)
