"""Whatever happens to a queue, whenever its program dies: what was accepted is in the journal until it is finished.

The simulation of test_simulation.py, with a journal, a disk that fails, and programs that follow each other on it.
"""

import os
import tempfile
from collections import Counter
from math import inf
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from event_collector import CollectorEvent, Error, JournalError, Payload, QueueFull, QueueShutDown, QueueType
from event_collector.journal.file import JournalFile
from tests.event_collector.dispatch.simulation import OUTCOMES, POLICY, Handling, turns
from tests.event_collector.dispatch.test_simulation import QUEUES, TARGETS, Reliability
from tests.event_collector.journal.journal_simulation import MAX_CRASHES, JournalSimulation

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a file costs no wait for the disk: here nothing but the program dies."""


class Known:
    """What the programs so far have seen; an event that was sent and not acknowledged may be on record or not."""

    def __init__(self) -> None:
        self.promised: set[int] = set()
        """Events that `send()` has returned, and others that were on record for sure: none of these may be missing."""
        self.finished: set[int] = set()
        """Events whose end is on record: none of these may come back."""
        self.refused: set[int] = set()
        """Numbers whose `send()` failed because nothing could be written."""
        self.cancelled: set[int] = set()
        """Numbers whose `send()` was cancelled, and that is on record."""
        self.made: dict[tuple[int, str], int] = {}
        """Attempts that are on record, by event and collector."""
        self.answered: set[tuple[int, str]] = set()
        """Events and collectors of which it is on record that they are done with each other."""
        self.letters: set[tuple[int, str]] = set()
        """Dead letters that are on record."""
        self.numbers: dict[int, int] = {}
        """What each event carries."""
        self.crashes: Counter[int] = Counter()
        """How often the program died while a handler had the event, for sure."""
        self.doubts: Counter[int] = Counter()
        """How often it died while one may have had it."""


class Durability(Reliability):
    """What may happen to the programs on one journal, and what must hold meanwhile."""

    @initialize(**QUEUES)
    def begin(self, bound: int, overflow: str, **options: Any) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY, prefix="journal-simulation-")
        self.path = os.path.join(self.folder.name, "events.journal")
        self.options = {"bound": bound, "overflow": overflow if bound else "wait", **options}
        self.bound, self.number, self.since = bound, 0, 0
        self.goes_to: dict[int, str] = {}
        self.deadlines, self.tries, self.known = {}, Counter(), Known()
        self.had_trouble = False
        self.start(1000.0)

    def start(self, now: float) -> None:
        """A new program on the journal."""
        self.events, self.results, self.senders = {}, {}, []
        self.replayed: list[int] = []
        self.begun: dict[tuple[int, str], int] = {}
        self.firsts: dict[str, int] = {}
        self.withdrawn: set[int] = set()
        self.unwritten: set[int] = set()
        """Events of `send_nowait()` that may be on no record, since the disk was full."""
        self.is_open = True
        self.simulation = JournalSimulation(
            self.path, self.see_replay, on_begin=self.see_begin, now=now, **self.options
        )
        self.simulation.open()

    # What is seen

    @property
    def recovered(self) -> dict[int, Any]:
        return {unfinished.stored.id: unfinished for unfinished in self.simulation.recovered.unfinished}

    @property
    def pending(self) -> set[int]:
        """Events of earlier programs that are to run again, one at a time, and have not been queued yet."""
        return self.recovered.keys() - set(self.replayed)

    def see_replay(self, event: CollectorEvent) -> None:
        assert event.id not in self.events, "an event is replayed twice"
        self.events[event.id] = event
        self.replayed.append(event.id)

    def see_begin(self, handling: Handling) -> None:
        number, key, event = handling.payload.value, handling.key, handling.payload.event_id
        assert event is not None
        assert self.known.numbers.setdefault(event, number) == number, "an id was given twice"
        assert (event, key) not in self.known.answered, "a collector gets again what it has finished"
        unfinished = self.recovered.get(event)
        before = 0 if unfinished is None else made_before(unfinished, key)
        attempt = self.begun.get((event, key), before) + 1
        assert handling.payload.attempt == attempt, "the number of the attempt is wrong"
        assert attempt <= POLICY.max_attempts, "one attempt too many"
        assert (handling.payload.last_error is None) == (attempt == 1)
        late = self.simulation.loop.now - self.deadlines.get(number, inf)
        assert late < 1e-6, "it began after its deadline"  # wall clocks count in smaller steps
        same = [h for h in self.simulation.handlings if (h.payload.event_id, h.key) == (event, key)]
        assert len(same) == 1, "two handlers have one event"
        if (event, key) not in self.begun:
            self.see_order(event, key)
        self.begun[event, key] = attempt

    def see_order(self, event: int, key: str) -> None:
        """Events of one collector that were queued when the program died begin in the order in which they were sent."""
        unfinished = self.recovered.get(event)
        if (
            unfinished is None
            or self.options["queue_type"] is not QueueType.FIFO
            or self.goes_to.get(self.known.numbers[event]) != key
            or unfinished.stored.crashes >= MAX_CRASHES - 1
            or unfinished.progress.due is not None
        ):
            return
        assert self.firsts.get(key, 0) < event, "the order is lost"
        self.firsts[key] = event

    # What happens

    def send_one(self, goes_to: str, priority: int, deadline: float | None, waits: bool) -> None:
        self.goes_to[self.number + 1] = goes_to
        super().send_one(goes_to, priority, deadline, waits)

    async def send_nowait(self, payload: Payload[Any], deadline: float | None) -> None:
        try:
            event = self.simulation.publisher.send_nowait(payload, deadline=deadline)
        except QueueFull:
            assert self.bound
            return
        self.events[event.id] = event
        self.known.numbers[event.id] = payload.value
        if self.had_trouble:
            self.unwritten.add(event.id)

    async def keep(self, sending: Any, number: int) -> None:
        try:
            event = await sending
        except JournalError:
            assert self.simulation.disk.is_full or self.had_trouble
            self.known.refused.add(number)
        except QueueShutDown:
            self.withdrawn.add(number)
        except BaseException:
            self.withdrawn.add(number)
            raise
        else:
            self.events[event.id] = event
            self.known.numbers[event.id] = event.payload.value
            self.known.promised.add(event.id)

    @rule(slow=st.booleans(), full=st.booleans())
    def change_the_disk(self, slow: bool, full: bool) -> None:
        if full:
            self.had_trouble = True
            self.unwritten |= self.events.keys() - self.known.promised
        self.simulation.disk.become(slow=slow, full=full)
        self.simulation.turn()

    @rule(sends=st.integers(0, 2), outcomes=st.lists(st.sampled_from(["ok", "refuse", "reject"]), max_size=3))
    def fail_a_write(self, sends: int, outcomes: list[str]) -> None:
        """What ends while it is under way is not in it."""
        self.change_the_disk(slow=False, full=True)
        self.begin_to_send(sends)
        self.simulation.run(turns(2))
        self.end_handlers(outcomes)
        self.simulation.advance(0.06)
        self.change_the_disk(slow=False, full=False)

    def begin_to_send(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.goes_to[self.number] = "c"
            sending = self.simulation.publisher.send(Payload(self.number, **TARGETS["c"]))
            self.senders.append(self.simulation.loop.create_task(self.keep(sending, self.number)))

    def end_handlers(self, outcomes: list[str]) -> None:
        for outcome, handling in zip(outcomes, list(self.simulation.handlings), strict=False):
            if handling in self.simulation.handlings:
                del self.simulation.handlings[handling]
                handling.end(OUTCOMES[outcome]())

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.1, 0.25, 1.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        disk, snapshot = self.simulation.disk, self.snapshot()
        self.simulation.advance(seconds)
        if seconds >= (10.0 if self.had_trouble else 0.25) and not disk.is_slow and not disk.is_full:
            self.settle(snapshot)

    @precondition(lambda self: self.number >= self.since + 3)
    @rule(
        sends=st.integers(0, 3),
        outcomes=st.lists(st.sampled_from(["ok", "refuse", "reject"]), max_size=3),
        seconds=st.sampled_from([0.0, 0.0, 0.03, 0.06]),
        steps=st.integers(0, 8),
    )
    def crash(self, sends: int, outcomes: list[str], seconds: float, steps: int) -> None:
        """While something happens, so many turns of the loop after its beginning."""
        self.begin_to_send(sends)
        self.end_handlers(outcomes)
        if seconds:
            self.simulation.advance(seconds)
        self.simulation.run(turns(steps))
        unfinished = {number for number, event in self.events.items() if not event.is_done()}
        self.known.crashes.update({handling.payload.event_id for handling in self.simulation.handlings})
        self.known.doubts.update(self.events.keys())
        unfinished |= self.pending
        letters = {(letter.id, letter.collector) for letter in self.simulation.letters}
        begun, now = self.attempts(), self.simulation.loop.now
        self.simulation.crash()
        self.since = self.number - steps % 4  # programs may die in a row
        self.start(now)
        self.check_restart(unfinished, letters, begun)

    @precondition(lambda self: self.number >= self.since + 5)
    @rule(abort=st.booleans())
    def end_and_start(self, abort: bool) -> None:
        """The same queue, or a new one."""
        unfinished, letters, begun, now = self.end(abort)
        self.simulation.close()
        self.since = self.number
        self.start(now)
        self.check_restart(unfinished, letters, begun)
        self.check_clean_restart(unfinished, letters, begun)

    def end(self, abort: bool) -> Any:
        self.is_open = False
        self.simulation.end(abort=abort)
        count = self.simulation.dispatcher.figures.accounting()
        assert count[2:5] == (0, 0, 0), "something is left at the end"
        assert all(event.is_done() for event in self.events.values())
        left = {number for number, event in self.events.items() if was_given_up(event)} | self.pending
        self.known.finished |= self.events.keys() - left
        letters = {(letter.id, letter.collector) for letter in self.simulation.letters}
        self.known.cancelled |= self.withdrawn
        return left, letters, self.attempts(), self.simulation.loop.now

    def attempts(self) -> dict[tuple[int, str], int]:
        """Return how many attempts have begun, of each event and collector that this program has seen."""
        before = {
            (number, key): attempt.made
            for number, one in self.recovered.items()
            for key, attempt in one.progress.attempts.items()
        }
        return before | self.begun

    # What is on record

    def snapshot(self) -> Any:
        """Return what is to be on record soon."""
        retries = self.simulation.dispatcher.retries
        scheduled = {number: event for number, event in self.events.items() if event.place is retries}
        made, answered = {}, set()
        for (number, key), count in self.begun.items():
            if number in scheduled and key in scheduled[number].course.due:  # type: ignore[union-attr]
                made[number, key] = count
            elif number in scheduled:
                answered.add((number, key))
        return (
            self.events.keys() - self.unwritten,
            {number for number, event in self.events.items() if event.is_done()},
            set(self.withdrawn),
            {(letter.id, letter.collector) for letter in self.simulation.letters},
            answered,
            made,
        )

    def settle(self, snapshot: Any) -> None:
        """It is on record: time has passed, and the disk did write."""
        known = self.known
        accepted, finished, withdrawn, letters, answered, made = snapshot
        known.promised |= accepted
        known.finished |= finished
        known.cancelled |= withdrawn
        known.letters |= letters
        known.answered |= answered
        known.made |= made
        self.had_trouble = False

    # What must hold

    def check_restart(self, unfinished: set[int], letters: set[Any], begun: dict[Any, int]) -> None:
        known, found = self.known, self.recovered
        kept = {(letter.id, letter.collector) for letter in self.simulation.recovered.letters}
        quarantined = {number for number, reason in self.simulation.recovered.buried}
        assert {reason for _, reason in self.simulation.recovered.buried} <= {"quarantined"}
        missing = (unfinished & known.promised) - found.keys() - quarantined
        assert not missing, f"events {missing} are lost"
        assert not found.keys() & known.finished, "finished events come back"
        for number, one in found.items():
            assert known.numbers.setdefault(number, one.payload.value) == one.payload.value
            assert one.payload.value not in known.refused, "what was refused comes back"
            assert one.payload.value not in known.cancelled, "what was cancelled comes back"
            assert known.crashes[number] < MAX_CRASHES, "it has ended too many programs"
            for key, attempt in one.progress.attempts.items():
                assert attempt.made <= begun.get((number, key), 0), "an attempt too many is counted"
        for (number, key), made in known.made.items():
            assert number not in found or has_made(found[number], key, made), "an attempt was forgotten"
        assert all(known.doubts[number] >= MAX_CRASHES for number in quarantined)
        for number, key in letters:
            told = (number, key) in kept or number in quarantined
            again = number in found and key in (found[number].progress.attempts or [key])
            assert told or again or number not in known.promised, "a dead letter is lost"
        assert known.letters & letters <= kept, "a dead letter is lost"
        self.check_replays()

    def check_clean_restart(self, unfinished: set[int], letters: set[Any], begun: dict[tuple[int, str], int]) -> None:
        """After an end in good order it is all there, and nothing else is."""
        assert self.recovered.keys() <= unfinished
        assert {(letter.id, letter.collector) for letter in self.simulation.recovered.letters} == letters
        assert not self.simulation.recovered.buried
        for (number, key), count in begun.items():
            assert number not in self.recovered or has_made(self.recovered[number], key, count - 1)

    def check_replays(self) -> None:
        """They are queued in the order in which they were accepted; those that may end the program come last."""
        suspects = {number for number, one in self.recovered.items() if one.stored.crashes >= MAX_CRASHES - 1}
        replayed = [number for number in self.replayed if number not in suspects]
        assert replayed == sorted(self.recovered.keys() - suspects)
        alone = [number for number in self.replayed if number in suspects]
        assert alone == sorted(suspects)[: len(alone)]

    @invariant()
    def every_event_is_somewhere(self) -> None:
        self.simulation.check_balance()
        assert len(self.events) == self.simulation.dispatcher.totals.accepted
        done = sum(event.is_done() for event in self.events.values())
        assert done == self.simulation.dispatcher.totals.finished

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.simulation.letters) <= 5

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        for task in self.senders:
            task.cancel()
        self.simulation.turn()
        try:
            left, letters, *_ = self.end(abort=False)
            file = JournalFile(self.path)
            assert {record.id for record in file.events()} <= left
            assert {(letter.event.id, letter.collector) for letter in file.dead_letters()} == letters
            file.close()
        finally:
            self.simulation.close()
            self.folder.cleanup()


def made_before(unfinished: Any, key: str) -> int:
    attempt = unfinished.progress.attempts.get(key)
    return 0 if attempt is None else int(attempt.made)


def has_made(unfinished: Any, key: str, made: int) -> bool:
    """Return whether that many attempts are on record, or the collector has finished the event since."""
    attempts = unfinished.progress.attempts
    return made <= made_before(unfinished, key) or (attempts and key not in attempts)


def was_given_up(event: CollectorEvent) -> bool:
    results = event.get_result() or ()
    return any(isinstance(result, Error) and isinstance(result.err, QueueShutDown) for result in results)


Durability.TestCase.settings = settings(
    max_examples=2 * settings().max_examples,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_any_order_of_programs = Durability.TestCase
