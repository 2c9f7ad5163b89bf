"""The simulated queue with a journal: real files of SQLite, a disk that can be slow, or full, and sudden death."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import mock

from event_collector import CollectorEvent, Journal
from event_collector.dispatch.recording import Recording
from event_collector.events.event_ids import event_ids
from event_collector.journal import journal_recorder as recorder
from event_collector.journal import writer
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_recorder import JournalRecorder
from event_collector.values.refusals import QueueShutDown
from tests.event_collector.dispatch.simulation import Silence, Simulation

if TYPE_CHECKING:
    from event_collector.journal.recovered import Recovered

MAX_CRASHES = 3
WALL = 1_000_000_000.0
"""What the wall clock is ahead of the clock of the loop."""


class Disk:
    """The thread of a journal's writer: it does its work in a turn of the loop, or when a slow disk gets to it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._jobs: list[Callable[[], None]] = []
        self._file: JournalFile | None = None
        self.is_slow = self.is_full = self._is_dead = False

    def open(self, *args: Any, **options: Any) -> JournalFile:
        self._file = JournalFile(*args, **options)
        return self._file

    # In place of the queue of jobs and of the thread; no mocks, which take longer than SQLite does

    def me(self, *_: Any, **options: Any) -> "Disk":
        return self

    Thread = me

    def start(self) -> None:
        pass

    def put(self, job: Callable[[], None] | None) -> None:
        if job is not None and not self._is_dead:
            self._jobs.append(job)
            if not self.is_slow:
                self._schedule()

    def _schedule(self) -> None:
        loop = self._simulation.loop
        loop.call_later(0.05, self._work) if self.is_full else loop.call_soon(self._work)

    def _work(self) -> None:
        if self._jobs and not self.is_slow and not self._is_dead:
            self._jobs.pop(0)()

    def become(self, *, slow: bool, full: bool) -> None:
        """SQLite itself refuses to write to a full one; there a good deal may happen before it does."""
        self.is_slow, self.is_full = slow, full
        if self._file is not None:
            self._file.db.execute(f"PRAGMA query_only = {'ON' if full else 'OFF'}")
        if not slow:
            for _ in range(len(self._jobs)):
                self._schedule()

    def die(self) -> None:
        """What has not reached the file never does."""
        self._is_dead = True
        if self._file is not None:
            self._file.abandon()


class JournalSimulation(Simulation):
    """One program with a journal; the next one on the same path finds what it leaves.

    Only the writer's thread is simulated: recorder, writer, file and page of running events are the real ones.

    Args:
        path: of the journal.
        on_replay: called with every event that is run again.
        options: of `Simulation`.

    """

    def __init__(self, path: str, on_replay: Callable[[CollectorEvent], None], **options: Any) -> None:
        self.path = path
        self._journal = Journal(path, max_crashes=MAX_CRASHES, on_replay=on_replay)
        self.disk = Disk(self)
        self.recorder: JournalRecorder | None = None
        self.recovered: Recovered
        super().__init__(**options)

    def patches(self) -> list[Any]:
        return [
            *super().patches(),
            mock.patch.object(recorder, "JournalFile", self.disk.open),
            mock.patch.object(writer, "SimpleQueue", self.disk.me),
            mock.patch.object(writer, "threading", self.disk),
            mock.patch.object(event_ids, "next", itertools.count(1).__next__),  # as in a new program
        ]

    def wall_clock(self) -> float:
        return WALL + self.loop.now

    def open(self) -> None:
        if self.recorder is None:
            self.recorder = JournalRecorder(self._journal, self.collectors, Silence())
            recording = Recording(self.dispatcher, self.recorder)
            self.publisher.enter_by(recording)
            self.recorder.enter_by(recording)
        self.recovered = self.run(self.recorder.open())
        super().open()
        self.recorder.restore(self.recovered, self.letters)

    def end(self, *, abort: bool) -> None:
        self.disk.become(slow=False, full=False)
        super().end(abort=abort)
        self.run(self.recorder.close())

    def crash(self) -> None:
        """SIGKILL: of the program there is left what is in its files at this instant."""
        self.disk.die()
        self.recorder._page = None
        self.on_begin = lambda _: None
        self.dispatcher.refuse(QueueShutDown("dead"))
        self.dispatcher.give_up(QueueShutDown("dead"))
        self.dispatcher.close()
        self.close()
