"""Which events are written out: only then may the journal of a run forget them."""

from collections.abc import Iterable
from contextlib import closing

from event_collector.command.input_window import Entry
from event_collector.events.event import CollectorEvent
from event_collector.journal.changes import Changes
from event_collector.journal.file import JournalFile
from event_collector.journal.journal import Journal
from event_collector.values.errors import JournalError
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error

__all__ = ["Acknowledgements", "was_given_up"]


class Acknowledgements:
    """Tells a journal what is written.

    Args:
        journal: it waits for being told.

    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._late: list[int] = []  # written after the end of the queue, which has closed the journal

    def written(self, entries: Iterable[Entry]) -> None:
        """The output of these is written. Those that the queue gave up stay in the journal."""
        for entry in entries:
            event = entry.event
            if event is None or was_given_up(event):
                continue
            try:
                self._journal.acknowledge(event)
            except JournalError:
                self._late.append(event.id)

    def close(self) -> None:
        """Tell the rest, after the end of the queue.

        Raises:
            JournalError: it cannot be written.

        """
        if not self._late:
            return
        changes = Changes()
        for number in self._late:
            changes.finish(number)
        with closing(
            JournalFile(self._journal.path, create=False, synchronous=self._journal.synchronous)
        ) as file:
            file.apply(changes)


def was_given_up(event: CollectorEvent) -> bool:
    """Return whether the end of the queue came before the event's own."""
    results = event.get_result() or ()
    return any(isinstance(result, Error) and isinstance(result.err, QueueShutDown) for result in results)
