"""A queue with a journal: what survives, what runs again, and how."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    ConfigError,
    Context,
    Delivery,
    EncodeError,
    Journal,
    JournalError,
    Payload,
    QueueShutDown,
    QueueType,
    Reject,
    Retry,
)
from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.events.event_ids import event_ids
from event_collector.journal.file import JournalFile
from event_collector.journal.running_page import RunningPage
from event_collector.journal.stored_event import StoredEvent, StoredProgress


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, which is to come true."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


class Order(msgspec.Struct):
    number: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.journal"


class Trace:
    """A coroutine handler that notes what it is called with, and waits while the gate is closed."""

    def __init__(self, *, opened: bool = True) -> None:
        self.seen: list[Any] = []
        self.ids: list[int | None] = []
        self.attempts: list[int] = []
        self.gate = asyncio.Event()
        if opened:
            self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        self.seen.append(payload.value)
        self.ids.append(payload.event_id)
        self.attempts.append(payload.attempt)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return payload.value


def make_queue(journal: Any, *handlers: Any, retry: Retry | None = None, **settings: Any) -> CollectorQueue:
    collectors = [Collector(f"c{number}", handler, retry=retry) for number, handler in enumerate(handlers)]
    return CollectorQueue(collectors, journal=journal, logging=False, **settings)


def file_of(path: Path) -> JournalFile:
    """Open the journal that nobody has open."""
    return JournalFile(str(path))


def make_due(path: Path) -> None:
    """Have the next attempts of all events be due now."""
    file = file_of(path)
    for record in list(file.events()):
        attempts = StoredProgress.decode(record.progress).attempts
        file.db.execute("UPDATE event SET progress = ?", (StoredProgress(attempts, 0.0).encode(),))
    file.abandon()


def unfinished(path: Path) -> list[int]:
    file = file_of(path)
    try:
        return [record.id for record in file.events()]
    finally:
        file.abandon()


@asynccontextmanager
async def cut_short(queue: CollectorQueue) -> AsyncIterator[CollectorQueue]:
    """Run the queue, and end it without time for what is left."""
    await queue.init_queue()
    try:
        yield queue
    finally:
        ending = asyncio.ensure_future(queue.shut_down_queue())
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait([ending])


# -- the way of an event --


async def test_an_event_is_on_record_when_send_returns_and_struck_out_when_it_is_finished(path: Path) -> None:
    """Another process would find it meanwhile."""
    trace = Trace(opened=False)
    async with make_queue(path, trace) as queue:
        event = await queue.get_publisher().send(Payload({"number": 1}))
        reader = JournalFile(str(path), read_only=True)
        assert [record.id for record in reader.events()] == [event.id]
        trace.gate.set()
        assert (await event.wait()).first().unwrap() == {"number": 1}
        await until(lambda: reader.counts() == (0, 0))
        reader.close()
    assert unfinished(path) == []


async def test_no_handler_begins_before_its_event_is_on_record(path: Path) -> None:
    """Else an effect could outlive the record of it."""

    async def look(payload: Payload[Any], ctx: Context) -> Any:
        reader = JournalFile(str(path), read_only=True)
        try:
            return payload.event_id in [record.id for record in reader.events()]
        finally:
            reader.close()

    async with make_queue(path, look) as queue:
        events = await queue.get_publisher().send_many(Payload(n) for n in range(5))
        assert [(await event.wait()).first().unwrap() for event in events] == [True] * 5


async def test_senders_share_a_wait_for_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand at once take a few transactions."""
    applied = []
    apply = JournalFile.apply

    def counting(self: JournalFile, changes: Any) -> None:
        applied.append(len(changes.inserted))
        apply(self, changes)

    monkeypatch.setattr(JournalFile, "apply", counting)
    async with make_queue(path, Trace()) as queue:
        publisher = queue.get_publisher()
        await asyncio.gather(*(publisher.send(Payload(n)) for n in range(1000)))
        assert len([number for number in applied if number]) < 20
        applied.clear()
        await publisher.send_many(Payload(n) for n in range(5000))
        assert max(applied) <= 1000
        assert len([number for number in applied if number]) < 30
    assert queue.accounting().accepted == 6000


async def test_events_keep_the_order_of_their_senders(path: Path) -> None:
    """First come first served, also through the disk."""
    trace = Trace()
    async with make_queue(path, trace, max_consumers=1) as queue:
        await asyncio.gather(*(queue.get_publisher().send(Payload(n)) for n in range(500)))
        await queue.get_publisher().wait()
    assert trace.seen == list(range(500))
    assert trace.ids == sorted(trace.ids, key=lambda number: number or 0)


# -- what runs again --


@pytest.mark.parametrize("queue_type", list(QueueType))
async def test_what_a_queue_leaves_runs_again_under_its_ids(path: Path, queue_type: QueueType) -> None:
    """In the order of the queue, each with its id; what was finished does not run again."""
    first, second = Trace(opened=False), Trace()
    async with cut_short(make_queue(path, first, max_consumers=1, queue_type=queue_type)) as queue:
        events = await queue.get_publisher().send_many(Payload(n, priority=n % 3) for n in range(9))
        await until(lambda: len(first.seen) == 1)
    for event in events:
        with pytest.raises(QueueShutDown):
            (await event.wait()).first().unwrap()
    assert unfinished(path) == [event.id for event in events]

    replayed: list[CollectorEvent] = []
    queue = make_queue(Journal(path, on_replay=replayed.append), second, max_consumers=1, queue_type=queue_type)
    async with queue:
        assert [event.id for event in replayed] == [event.id for event in events]
        more = await queue.get_publisher().send(Payload("more"))
        assert more.id > max(event.id for event in events)
        await asyncio.gather(*(event.wait() for event in replayed))
    ids = {event.payload.value: event.id for event in replayed}
    assert sorted(second.seen, key=str) == [*range(9), "more"]
    assert [ids.get(value, more.id) for value in second.seen] == second.ids
    old = [value for value in second.seen if value != "more"]
    if queue_type is QueueType.FIFO:
        assert second.seen == [*range(9), "more"]
    elif queue_type is QueueType.PRIORITY:
        assert old == sorted(range(9), key=lambda n: (n % 3, n))
    assert queue.accounting().accepted == 10
    assert unfinished(path) == []


async def test_a_queue_can_be_started_again_with_its_journal(path: Path) -> None:
    """The same queue, the same program: what it gave up it takes up again."""
    trace = Trace(opened=False)
    queue = make_queue(path, trace)
    async with cut_short(queue):
        await queue.get_publisher().send(Payload("a"))
        await until(lambda: len(trace.seen) == 1)
    trace.gate.set()
    async with queue:
        await queue.get_publisher().wait()
    assert trace.seen == ["a", "a"]
    assert trace.ids[0] == trace.ids[1]
    assert unfinished(path) == []


async def test_values_come_back_as_their_types(path: Path) -> None:
    """A handler that asks for an Order gets one, also the second time."""
    seen: list[Any] = []
    gate = asyncio.Event()

    async def handle(payload: Payload[Order], ctx: Context) -> None:
        seen.append(payload.value)
        await gate.wait()

    async with cut_short(make_queue(path, handle)) as queue:
        await queue.get_publisher().send(Payload(Order(5), Delivery.KEY, ["c0"]))
        await until(lambda: len(seen) == 1)
    gate.set()
    async with make_queue(path, handle):
        pass
    assert seen == [Order(5), Order(5)]


async def test_attempts_are_remembered(path: Path) -> None:
    """An event that was to be tried again goes on with its next attempt, when that is due, and not before."""
    trace = Trace()
    trace.error = ValueError("not yet")
    retry = Retry(max_attempts=3, backoff=60.0, max_backoff=60.0, jitter=0.0)
    async with make_queue(path, trace, retry=retry) as queue:
        event = await queue.get_publisher().send(Payload("a"))
        await until(lambda: queue.accounting().scheduled == 1)
    assert trace.attempts == [1]
    assert unfinished(path) == [event.id]

    async with make_queue(path, trace, retry=retry) as queue:
        assert queue.accounting().scheduled == 1  # it waits for the rest of its minute
    assert trace.attempts == [1]

    make_due(path)
    trace.error = None
    async with make_queue(path, trace, retry=retry) as queue:
        await queue.get_publisher().wait()
    assert trace.attempts == [1, 2]
    assert trace.ids == [event.id] * 2
    assert unfinished(path) == []


async def test_collectors_that_have_finished_an_event_do_not_get_it_again(path: Path) -> None:
    """Only the one that failed does."""
    fine, failing = Trace(), Trace()
    failing.error = ValueError("no")
    retry = Retry(max_attempts=3, backoff=0.0)
    queue = make_queue(path, fine, failing, retry=Retry(max_attempts=2, backoff=60.0, jitter=0.0))
    async with queue:
        await queue.get_publisher().send(Payload("a"))
        await until(lambda: queue.accounting().scheduled == 1)
    make_due(path)
    failing.error = None
    async with make_queue(path, fine, failing, retry=retry) as queue:
        await queue.get_publisher().wait()
    assert (fine.attempts, failing.attempts) == ([1], [1, 2])


async def test_a_deadline_goes_on_while_no_program_runs(path: Path) -> None:
    """An event that expires meanwhile is not started."""
    trace = Trace(opened=False)
    replayed: list[CollectorEvent] = []
    async with cut_short(make_queue(path, trace, max_consumers=1)) as queue:
        await queue.get_publisher().send_many([Payload("a"), Payload("b")], deadline=3600.0)
        await until(lambda: len(trace.seen) == 1)
    file = file_of(path)
    _, last = file.events()
    expired = StoredEvent(last.id, last.schema, last.body, last.accepted, (last.expires or 0.0) - 7200.0).sealed()
    changed = expired.expires, expired.checksum, last.id
    file.db.execute("UPDATE event SET expires = ?, checksum = ? WHERE id = ?", changed)
    file.abandon()
    trace.gate.set()
    async with make_queue(Journal(path, on_replay=replayed.append), trace) as queue:
        await queue.get_publisher().wait()
    assert trace.seen == ["a", "a"]
    results = [(await event.wait()).first() for event in replayed]
    assert [type(result).__name__ for result in results] == ["Ok", "Error"]
    assert unfinished(path) == []


async def test_more_than_the_bound_may_run_again(path: Path) -> None:
    """They were accepted; new ones wait until there is room."""
    trace = Trace(opened=False)
    async with cut_short(make_queue(path, trace, max_consumers=1)) as queue:
        await queue.get_publisher().send_many(Payload(n) for n in range(10))
    async with make_queue(path, Trace(), max_consumers=1, max_queue_size=3) as queue:
        await queue.get_publisher().send(Payload("new"))
        await queue.get_publisher().wait()
        assert queue.accounting().finished == 11


# -- dead letters --


async def test_dead_letters_are_there_after_a_restart(path: Path) -> None:
    """They can be replayed then, and the replay is on record."""
    trace = Trace()
    trace.error = Reject("never")
    async with make_queue(path, trace, retry=Retry()) as queue:
        event = await queue.get_publisher().send(Payload({"number": 1}))
        await event.wait()
        assert len(queue.dead_letters) == 1
    trace.error = None
    async with make_queue(path, trace, retry=Retry()) as queue:
        (letter,) = queue.dead_letters
        assert (letter.id, letter.collector, letter.reason) == (event.id, "c0", "rejected")
        assert letter.payload.value == {"number": 1}
        assert queue.accounting().dead == 1
        again = await queue.dead_letters.replay(letter)
        await again.wait()
    assert trace.seen == [{"number": 1}] * 2
    file = file_of(path)
    assert file.counts() == (0, 0)
    file.abandon()


async def test_dead_letters_that_were_dropped_do_not_come_back(path: Path) -> None:
    """Also those that were dropped while the queue did not run."""
    trace = Trace()
    trace.error = Reject("never")
    queue = make_queue(path, trace, retry=Retry())
    async with queue:
        for n in range(3):
            await (await queue.get_publisher().send(Payload(n))).wait()
        queue.dead_letters.drop(next(iter(queue.dead_letters)))
    queue.dead_letters.drop(next(iter(queue.dead_letters)))
    async with queue:
        assert [letter.payload.value for letter in queue.dead_letters] == [2]
        assert queue.dead_letters.events == 1
    async with make_queue(path, trace, retry=Retry()) as other:
        assert [letter.payload.value for letter in other.dead_letters] == [2]


async def test_what_no_longer_decodes_is_a_dead_letter_and_no_crash_loop(path: Path) -> None:
    """The queue starts, the others run, and the file keeps it with the reason."""
    gate = asyncio.Event()
    seen: list[Any] = []

    async def handle(payload: Payload[Order], ctx: Context) -> None:
        await gate.wait()

    async def changed(payload: Payload[dict[str, int]], ctx: Context) -> None:
        seen.append(payload.value)

    async with cut_short(make_queue(path, handle)) as queue:
        await queue.get_publisher().send_many([Payload(Order(1)), Payload({"a": 1})])
    for _ in range(2):
        async with make_queue(path, changed) as queue:
            await queue.get_publisher().wait()
            assert len(queue.dead_letters) == 0
    assert seen == [{"a": 1}]
    file = file_of(path)
    (letter,) = file.dead_letters()
    assert letter.reason == "undecodable"
    assert "Order, which no collector names any more" in letter.error
    file.abandon()
    gate.set()


async def test_what_no_longer_has_its_collector_is_a_dead_letter(path: Path) -> None:
    """An event that waited for another attempt of a collector that is gone."""
    trace = Trace()
    trace.error = ValueError("no")
    retry = Retry(backoff=60.0)
    queue = CollectorQueue([Collector("old", trace, retry=retry)], journal=path, logging=False)
    async with queue:
        await queue.get_publisher().send(Payload(1))
        await until(lambda: queue.accounting().scheduled == 1)
    async with make_queue(path, trace) as queue:
        (letter,) = queue.dead_letters
        assert (letter.collector, letter.reason, letter.attempts) == ("old", "undeliverable", 1)
        assert letter.error == "there is no collector 'old' any more. ValueError: no"
    assert unfinished(path) == []


async def test_an_event_that_programs_die_of_is_quarantined(path: Path) -> None:
    """After `max_crashes` programs it is a dead letter of the event as a whole, which can be replayed."""
    trace = Trace(opened=False)
    async with cut_short(make_queue(path, trace, max_consumers=1)) as queue:
        events = await queue.get_publisher().send_many([Payload("bomb"), Payload("fine")])
        await until(lambda: len(trace.seen) == 1)
    for crash in range(3):
        file = file_of(path)
        assert [record.crashes for record in file.events()] == [crash, 0]
        file.abandon()
        page = RunningPage(str(path))
        page.begin(events[0].id)
        if crash < 2:
            blocked = make_queue(Journal(path, max_crashes=3), Trace(opened=False), max_consumers=1)
            async with cut_short(blocked):
                pass
    trace.gate.set()
    async with make_queue(Journal(path, max_crashes=3), trace) as queue:
        await queue.get_publisher().wait()
        (letter,) = queue.dead_letters
        assert (letter.payload.value, letter.reason, letter.collector) == ("bomb", "quarantined", "")
        assert letter.error == "3 programs died while a handler had this event"
        assert trace.seen == ["bomb", "fine"]
        await (await queue.dead_letters.replay(letter)).wait()
    assert trace.seen == ["bomb", "fine", "bomb"]


async def test_events_that_may_end_the_program_run_one_after_the_other(path: Path) -> None:
    """Those that were in handlers whenever a program died wait for each other, and for nobody else."""
    trace = Trace(opened=False)
    async with cut_short(make_queue(path, trace)) as queue:
        events = await queue.get_publisher().send_many(Payload(n) for n in range(4))
        await until(lambda: len(trace.seen) == 4)
    file = file_of(path)
    file.db.execute("UPDATE event SET crashes = 2 WHERE id <> ?", (events[3].id,))
    file.abandon()
    trace = Trace(opened=False)
    queue = make_queue(Journal(path, max_crashes=3), trace)
    async with cut_short(queue):
        await until(lambda: len(trace.seen) == 2)
        assert trace.seen == [3, 0]
        assert queue.accounting().accepted == 2
    assert unfinished(path) == [event.id for event in events]
    trace.gate.set()
    async with make_queue(Journal(path, max_crashes=3), trace):
        pass  # the end waits for all of them
    assert trace.seen == [3, 0, 3, 0, 1, 2]
    assert unfinished(path) == []


async def test_an_end_without_time_begins_with_no_further_one(path: Path) -> None:
    """One that answers in spite of its cancellation lets the next not begin: that is left to the next start."""
    trace = Trace(opened=False)
    async with cut_short(make_queue(path, trace)) as queue:
        events = await queue.get_publisher().send_many([Payload(1), Payload(2)])
        await until(lambda: len(trace.seen) == 2)
    file = file_of(path)
    file.db.execute("UPDATE event SET crashes = 2")
    file.abandon()
    seen: list[int] = []

    async def stubborn(payload: Payload[int], ctx: Context) -> int:
        seen.append(payload.value)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return payload.value

    async with cut_short(make_queue(Journal(path, max_crashes=3), stubborn)):
        await until(lambda: seen == [1])
    assert seen == [1]
    assert events[1].id in unfinished(path)


@pytest.mark.parametrize("crash", [False, True])
async def test_an_id_is_not_given_again_although_nothing_of_its_event_was_written(
    path: Path, crash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of send_nowait() may be finished before it is on record: the next program goes on above its id."""
    given: list[int] = []
    for value in range(2):
        monkeypatch.setattr(event_ids, "next", itertools.count(1).__next__)
        queue = make_queue(path, Trace())
        async with queue:
            event = queue.get_publisher().send_nowait(Payload(value))
            await event.wait()
            page = Path(f"{path}-running").read_bytes()
        if crash:
            path.unlink()  # as if the file had been as it was before the event
            file_of(path).close()
            Path(f"{path}-running").write_bytes(page)
        given.append(event.id)
    assert given == [1, 2]


# -- refusals --


@pytest.mark.parametrize("many", [False, True])
async def test_what_cannot_be_stored_is_refused(path: Path, many: bool) -> None:
    """The send raises, nothing is accepted, the queue goes on."""
    odd = Payload([object()])
    async with make_queue(path, Trace(), max_queue_size=1) as queue:
        publisher = queue.get_publisher()
        for _ in range(3):
            sending: Any = publisher.send_many([odd]) if many else publisher.send(odd)
            with pytest.raises(EncodeError, match="the journal cannot store the payload of type list"):
                await sending
            with pytest.raises(EncodeError):
                publisher.send_nowait(odd)
        await (await publisher.send(Payload("fine"))).wait()
        assert queue.accounting().accepted == 1


async def test_events_are_taken_while_the_queue_runs_only(path: Path) -> None:
    """Before, there is nowhere to write them to."""
    queue = make_queue(path, Trace())
    with pytest.raises(JournalError, match="is not open: a queue with a journal takes events while it runs only"):
        await queue.get_publisher().send(Payload(1))
    async with queue:
        pass
    with pytest.raises(QueueShutDown):
        await queue.get_publisher().send(Payload(1))


async def test_a_second_queue_on_the_journal_is_refused_and_leaves_nothing(path: Path) -> None:
    """Its lifecycles were not even entered."""
    entered = []

    @asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        entered.append(1)
        yield

    second = CollectorQueue([Collector("c", Trace(), lifecycle=lifecycle)], journal=path, logging=False)
    async with make_queue(path, Trace()) as first:
        with pytest.raises(JournalError, match="in use by another queue of this process"):
            await second.init_queue()
        await (await first.get_publisher().send(Payload(1))).wait()
    assert entered == []
    async with second:
        assert entered == [1]


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    """The message says what is taken."""
    for wrong in (5, "", b"bytes", "a\0b"):
        with pytest.raises(ConfigError, match="journal takes the path of a file, or a Journal"):
            make_queue(wrong, Trace())
    with pytest.raises(ConfigError, match="synchronous is one of"):
        Journal(tmp_path / "j", synchronous="off")
    with pytest.raises(ConfigError, match="max_crashes is a whole number of at least 1"):
        Journal(tmp_path / "j", max_crashes=0)


# -- a journal that cannot be written --


class Disk:
    """Makes a journal fail to write while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.gate: Callable[[], None] = lambda: None
        apply = JournalFile.apply

        def applying(file: JournalFile, changes: Any) -> None:
            self.gate()
            if self.full:
                raise JournalError("database or disk is full")
            apply(file, changes)

        monkeypatch.setattr(JournalFile, "apply", applying)


async def test_a_send_that_cannot_be_written_raises_and_the_queue_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, hurried: Callable[[float], None]
) -> None:
    """The event is not accepted; with room on the disk again, events are; what was finished meanwhile is struck out."""
    disk, trace = Disk(monkeypatch), Trace(opened=False)
    hurried(0.01)
    async with make_queue(path, trace, max_queue_size=2) as queue:
        publisher = queue.get_publisher()
        early = await publisher.send(Payload("early"))
        disk.full = True
        for _ in range(3):
            with pytest.raises(JournalError, match="full"):
                await publisher.send(Payload("lost"))
        with pytest.raises(JournalError, match="full"):
            await publisher.send_many([Payload("lost"), Payload("lost")])
        assert queue.accounting().accepted == 1
        trace.gate.set()
        await early.wait()
        disk.full = False
        late = await publisher.send(Payload("late"))
        await late.wait()
    assert trace.seen == ["early", "late"]
    assert unfinished(path) == []


async def test_an_event_of_send_nowait_goes_on_without_its_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be refused any more; the log says how many there were."""
    lines: list[tuple[str, dict[str, Any]]] = []

    class Log:
        def __getattr__(self, level: str) -> Any:
            return lambda text, **fields: lines.append((text, fields))

    disk, trace = Disk(monkeypatch), Trace()
    queue = CollectorQueue([Collector("c", trace)], journal=path, log=Log())
    async with queue:
        await (await queue.get_publisher().send(Payload("first"))).wait()
        disk.full = True
        event = queue.get_publisher().send_nowait(Payload("second"))
        await event.wait()
        await until(lambda: any("cannot be written" in text for text, _ in lines))
        disk.full = False
        await (await queue.get_publisher().send(Payload("third"))).wait()
        await until(lambda: any("can be written again" in text for text, _ in lines))
    assert trace.seen == ["first", "second", "third"]
    assert next(fields for text, fields in lines if "again" in text)["events_missed"] <= 1
    assert not any("second" in repr(line) for line in lines)


async def test_a_payload_that_is_too_large_fails_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that share its batch are written one by one."""
    apply = JournalFile.apply

    def applying(file: JournalFile, changes: Any) -> None:
        if any(b"large" in record.body for record in changes.inserted.values()):
            raise JournalError("string or blob too big")
        apply(file, changes)

    monkeypatch.setattr(JournalFile, "apply", applying)
    async with make_queue(path, Trace()) as queue:
        publisher = queue.get_publisher()
        outcomes = await asyncio.gather(
            *(publisher.send(Payload(value)) for value in ("a", "large", "b")), return_exceptions=True
        )
        assert [isinstance(outcome, JournalError) for outcome in outcomes] == [False, True, False]


async def test_a_cancelled_send_is_not_accepted_and_leaves_no_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is cancelled before or while it is written."""
    import threading

    disk, trace, go_on = Disk(monkeypatch), Trace(), threading.Event()
    disk.gate = lambda: go_on.wait(20) and None
    go_on.set()
    async with make_queue(path, trace, max_queue_size=2) as queue:
        go_on.clear()
        sends = [asyncio.ensure_future(queue.get_publisher().send(Payload("a")))]
        await asyncio.sleep(0.01)
        sends.append(asyncio.ensure_future(queue.get_publisher().send(Payload("b"))))
        await asyncio.sleep(0.01)
        for send in sends:
            send.cancel()
        await asyncio.wait(sends)
        go_on.set()
        await (await queue.get_publisher().send(Payload("c"))).wait()
        assert queue.accounting().accepted == 1
    assert trace.seen == ["c"]
    assert unfinished(path) == []


async def test_an_end_while_an_event_is_written_refuses_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not accepted, and does not run after a restart either."""
    import threading

    disk, go_on = Disk(monkeypatch), threading.Event()
    disk.gate = lambda: go_on.wait(20) and None
    go_on.set()
    queue = make_queue(path, Trace())
    await queue.init_queue()
    go_on.clear()
    send = asyncio.ensure_future(queue.get_publisher().send(Payload("a")))
    await asyncio.sleep(0.01)
    ending = asyncio.ensure_future(queue.shut_down_queue())
    await asyncio.sleep(0.01)
    go_on.set()
    with pytest.raises(QueueShutDown):
        await send
    await ending
    assert unfinished(path) == []


async def test_a_start_that_is_cancelled_gives_the_journal_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start finds it free."""
    import threading

    go_on, opened = threading.Event(), threading.Event()
    init = JournalFile.__init__

    def slow(file: JournalFile, *args: Any, **options: Any) -> None:
        init(file, *args, **options)
        opened.set()
        go_on.wait(20)

    monkeypatch.setattr(JournalFile, "__init__", slow)
    queue = make_queue(path, Trace())
    starting = asyncio.ensure_future(queue.init_queue())
    await until(opened.is_set)
    starting.cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.wait([starting])
    assert starting.cancelled()
    async with queue:
        pass


# -- acknowledged by the program --


async def test_a_program_may_say_itself_when_an_event_is_done_with(path: Path) -> None:
    """What it has not said that of runs again, results or not."""
    journal = Journal(path, acknowledge=True)
    trace = Trace()
    async with make_queue(journal, trace) as queue:
        first, second = await queue.get_publisher().send_many([Payload(1), Payload(2)])
        await asyncio.gather(first.wait(), second.wait())
        journal.acknowledge(first)
    assert unfinished(path) == [second.id]
    with pytest.raises(JournalError, match="is closed"):
        journal.acknowledge(second)
    with pytest.raises(ConfigError, match="acknowledge=True"):
        Journal(path).acknowledge(second)
    async with make_queue(path, trace) as queue:
        await queue.get_publisher().wait()
    assert trace.seen == [1, 2, 2]


# -- other modes --


def process(payload: Payload[int], ctx: Context) -> Any:
    return payload.value, payload.event_id


async def test_workers_see_the_id_of_the_event(path: Path) -> None:
    """It travels with the payload."""
    queue = CollectorQueue([Collector("p", process)], journal=path, logging=False, max_workers=1)
    async with queue:
        events = await queue.get_publisher().send_many(Payload(n) for n in range(3))
        assert [(await event.wait()).first().unwrap() for event in events] == [
            [n, event.id] for n, event in enumerate(events)
        ]


async def test_without_a_journal_no_payload_has_an_id() -> None:
    """It would not outlive the program."""
    trace = Trace()
    async with make_queue(None, trace) as queue:
        await (await queue.get_publisher().send(Payload(1))).wait()
    assert trace.ids == [None]
    assert isinstance(queue._dispatcher, Dispatcher)
    assert not queue._dispatcher._is_recorded


async def test_one_payload_may_be_sent_twice(path: Path) -> None:
    """Each time it is another event, with an id of its own."""
    trace = Trace(opened=False)
    async with make_queue(path, trace) as queue:
        payload = Payload("same")
        first, second = await queue.get_publisher().send_many([payload, payload])
        trace.gate.set()
        await asyncio.gather(first.wait(), second.wait())
    assert trace.ids == [first.id, second.id]
    assert payload.event_id is None


def test_an_event_whose_loop_ends_below_it_runs_again(path: Path) -> None:
    """A program that forgets to end its queue has its handlers cancelled by asyncio.run(): nothing is struck out."""
    left, found = Trace(opened=False), Trace()

    async def forget() -> None:
        queue = make_queue(path, left)
        await queue.init_queue()
        await queue.get_publisher().send(Payload(7))
        await until(lambda: bool(left.seen))

    async def find() -> None:
        async with make_queue(path, found):
            await until(lambda: bool(found.seen))

    asyncio.run(forget())
    asyncio.run(find())
    assert (found.seen, found.ids) == (left.seen, left.ids)
