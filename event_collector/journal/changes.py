"""Changes: rows of a journal that one transaction writes."""

from event_collector.journal.stored_event import StoredEvent, StoredLetter


class Changes:
    """Changes of events and dead letters. `JournalFile.apply()` writes them in the order of the slots."""

    __slots__ = ("inserted", "attempted", "crashed", "buried", "finished", "dropped", "highest_id")  # noqa: RUF023

    def __init__(self) -> None:
        self.inserted: dict[int, StoredEvent] = {}
        self.attempted: dict[int, bytes] = {}
        """Encoded progress of events that wait for another attempt."""
        self.crashed: set[int] = set()
        """Events that were in handlers when a program died."""
        self.buried: dict[tuple[int, str], StoredLetter] = {}
        """New dead letters, by event and collector."""
        self.finished: set[int] = set()
        self.dropped: set[tuple[int, str]] = set()
        """Dead letters to delete, by event and collector."""
        self.highest_id = 0
        """Highest id in use; later events get higher ones. 0 for none."""

    def attempt(self, event_id: int, progress: bytes) -> None:
        """Record the progress of an event that will be tried again."""
        self.attempted[event_id] = progress

    def finish(self, event_id: int) -> None:
        """Delete an event. Nothing is written for an event that has not been inserted yet."""
        self.attempted.pop(event_id, None)
        if self.inserted.pop(event_id, None) is None:
            self.finished.add(event_id)

    def bury(self, letter: StoredLetter) -> None:
        """Add a dead letter."""
        self.buried[letter.event.id, letter.collector] = letter

    def drop(self, event_id: int, collector: str) -> None:
        """Delete a dead letter."""
        if self.buried.pop((event_id, collector), None) is None:
            self.dropped.add((event_id, collector))

    def precede(self, later: "Changes") -> None:
        """Add later changes to these, which could not be written before."""
        self.attempted |= later.attempted
        self.inserted |= later.inserted
        self.crashed |= later.crashed
        self.buried |= later.buried
        self.highest_id = max(self.highest_id, later.highest_id)
        for event_id in later.finished:
            self.finish(event_id)
        for letter in later.dropped:
            self.drop(*letter)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)
