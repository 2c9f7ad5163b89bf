"""A journal that goes wrong while a queue uses it: files that vanish, and changes that cannot be written."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, ConfigError, Context, Error, JournalError, Payload, Retry
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_codec import JournalCodec
from event_collector.journal.stored_event import Changes, StoredEvent, StoredLetter
from event_collector.journal.writer import Writer


class Log:
    """Keeps its lines; `raises` makes it a log that cannot be written."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.raises = False

    def __getattr__(self, level: str) -> Any:
        def write(text: str, **fields: Any) -> None:
            self.lines.append((text, fields))
            if self.raises:
                raise BrokenPipeError

        return write

    def field(self, text: str, name: str) -> Any:
        return next(fields[name] for line, fields in self.lines if text in line)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "events.journal"


async def forever(payload: Payload[Any], ctx: Context) -> None:
    await asyncio.sleep(1000)


async def at_once(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def make_queue(path: Path, handler: Any = forever, log: Any = None) -> CollectorQueue:
    return CollectorQueue(
        [Collector("c", handler)], journal=path, log=log, logging=log is not None, consumer_shutdown_timeout=0.01
    )


def values(path: str | Path) -> list[Any]:
    """Return the values of the events in a journal."""
    file, codec = JournalFile(str(path), create=False), JournalCodec([], 1_000_000)
    try:
        return [codec.decode(event).value for event in file.events()]
    finally:
        file.close()


# -- files that vanish --


def remove_all(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, f"{path}-other")
    os.replace(f"{path}-other", path)


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def remove_lock(path: Path) -> None:
    Path(f"{path}-lock").unlink()


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("vanish", [remove_all, replace, move, remove_log, remove_lock, remove_folder])
async def test_a_journal_that_vanishes_takes_no_more_events(path: Path, vanish: Callable[[Path], None]) -> None:
    """The next program would not find them. Each send is refused; the events that were accepted run on."""
    log, opened = Log(), asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await opened.wait()
        return payload.value

    async with make_queue(path, handler, log) as queue:
        early = await queue.get_publisher().send(Payload("early"))
        vanish(path)
        for _ in range(2):
            with pytest.raises(JournalError, match=r"takes no more events: .* was removed or replaced"):
                await queue.get_publisher().send(Payload("late"))
        with pytest.raises(JournalError, match="removed or replaced"):
            await queue.get_publisher().send_many([Payload("late"), Payload("late")])
        opened.set()
        assert (await early.wait()).first().unwrap() == "early"
        assert queue.accounting().accepted == 1
    assert "removed or replaced" in log.field("cannot be written", "reason")


@pytest.mark.parametrize("vanish", [remove_all, replace, move])
async def test_events_of_a_journal_that_vanished_are_saved_at_the_end(path: Path, vanish: Any) -> None:
    """Those that no handler has finished are in a copy, which is a journal; another one in its place is not touched."""
    log = Log()
    async with make_queue(path, log=log) as queue:
        await queue.get_publisher().send_many(map(Payload, range(5)))
        vanish(path)
        before = {file: file.read_bytes() for file in path.parent.iterdir() if file.name == path.name}
        with pytest.raises(JournalError):
            await queue.get_publisher().send(Payload("late"))
    copy = log.field("saved in a copy", "copy")
    assert values(copy) == [0, 1, 2, 3, 4]
    assert {file: file.read_bytes() for file in before} == before


async def test_a_log_that_vanished_is_in_the_database_at_the_end(path: Path) -> None:
    """The database has its name still: nothing has to be saved elsewhere."""
    async with make_queue(path) as queue:
        await queue.get_publisher().send_many(map(Payload, range(5)))
        remove_log(path)
    assert values(path) == [0, 1, 2, 3, 4]


async def test_events_that_cannot_be_saved_are_told(path: Path) -> None:
    """As when the folder is gone."""
    log = Log()
    async with make_queue(path, log=log) as queue:
        await queue.get_publisher().send(Payload(1))
        remove_folder(path)
    assert any("are lost, and cannot be saved" in fields.get("reason", "") for _, fields in log.lines)


async def test_the_log_of_another_journal_in_its_place_is_left_alone(path: Path) -> None:
    """A program whose journal vanished ends while the next one works on a new journal of that name."""
    old = make_queue(path)
    await old.init_queue()
    await old.get_publisher().send(Payload("old"))
    remove_all(path)
    file = await asyncio.to_thread(another_program, path)
    await old.shut_down_queue()
    assert file.loss() is None
    file.close()
    assert values(path) == ["new"]


def another_program(path: Path) -> JournalFile:
    """Open a journal and write to it, as another process does; this process knows that it has the lock already."""
    from event_collector.journal import lock

    lock._held.clear()
    file = JournalFile(str(path))
    schema, body = JournalCodec([], 1_000_000).encode(Payload("new"))
    changes = Changes()
    changes.inserted[1] = StoredEvent(1, schema, body, 0.0).sealed()
    file.apply(changes)
    return file


async def test_a_journal_that_comes_back_takes_events_again(path: Path) -> None:
    """It is the same file under its name."""
    async with make_queue(path) as queue:
        move(path)
        with pytest.raises(JournalError):
            await queue.get_publisher().send(Payload("late"))
        path.with_name("moved").rename(path)
        await queue.get_publisher().send(Payload("again"))
    assert values(path) == ["again"]


# -- changes that cannot be written --


@pytest.mark.parametrize("kind", ["dead letter", "attempt"])
async def test_a_change_that_cannot_be_written_stops_no_other(path: Path, kind: str) -> None:
    """Neither in its batch nor in later ones."""
    troubles: list[Any] = []
    writer = Writer(lambda: JournalFile(str(path)), lambda trouble, _: troubles.append(trouble))
    await writer.open()
    record = StoredEvent(1, "builtins.int", b"\x01", 0.0).sealed()
    bad: Any = "\udcff" if kind == "attempt" else StoredLetter(record, "\udcff", 1, "exhausted", "", "", 0.0)
    for number in (1, 2, 3):
        if kind == "attempt":
            writer.next_changes().attempted[1] = bad
        else:
            writer.next_changes().bury(bad)
        await writer.append(record._replace(id=number).sealed())
        await writer.append(record._replace(id=number + 10).sealed())
    assert await writer.call(lambda file: [event.id for event in file.events()]) == [1, 2, 3, 11, 12, 13]
    await writer.close()
    assert troubles[0] is not None
    assert troubles[-1] is None


async def test_a_log_that_cannot_be_written_stops_no_batch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trouble of the journal is reported to a log that raises."""
    log, apply = Log(), JournalFile.apply
    async with asyncio.timeout(20):
        async with make_queue(path, at_once, log) as queue:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            log.raises = True
            with monkeypatch.context() as patch:
                patch.setattr(JournalFile, "apply", lambda *_: (_ for _ in ()).throw(JournalError("full")))
                with pytest.raises(JournalError):
                    await queue.get_publisher().send(Payload(1))
            assert JournalFile.apply is apply
            for number in (2, 3):
                event = await queue.get_publisher().send(Payload(number))
                assert (await event.wait()).first().unwrap() == number
            log.raises = False


@pytest.mark.parametrize("outcomes", [[MemoryError()], [JournalError("full"), None, MemoryError()]])
async def test_an_unforeseen_error_fails_its_batch_only(
    path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: list[Exception | None]
) -> None:
    """At the first attempt, or when its changes are written one by one. The thread of the writer goes on."""
    steps = iter(outcomes)

    def applying(_file: JournalFile, _changes: Changes) -> None:
        if (error := next(steps)) is not None:
            raise error

    async with make_queue(path, at_once) as queue:
        with monkeypatch.context() as patch:
            patch.setattr(JournalFile, "apply", applying)
            with pytest.raises(JournalError, match="MemoryError"):
                await queue.get_publisher().send(Payload(1))
        event = await queue.get_publisher().send(Payload(2))
        assert (await event.wait()).first().unwrap() == 2
    assert values(path) == []


async def test_text_that_cannot_be_encoded_reaches_the_dead_letters(path: Path) -> None:
    """Half a character in the error of a handler is written in another form."""

    async def fail(payload: Payload[Any], ctx: Context) -> Any:
        return Error(ValueError("half a character: \udcff"), details={"trace": "line \udcff"})

    queue = CollectorQueue([Collector("c", fail, retry=Retry(max_attempts=1))], journal=path, logging=False)
    async with queue:
        await (await queue.get_publisher().send(Payload(1))).wait()
    file = JournalFile(str(path))
    (letter,) = file.dead_letters()
    file.close()
    assert (letter.error, letter.trace) == ("ValueError: half a character: \\udcff", "line \\udcff")


def test_a_key_that_cannot_be_stored_is_refused(path: Path) -> None:
    """Before any event could get stuck with it."""
    with pytest.raises(ConfigError, match="cannot store the key of a collector"):
        CollectorQueue([Collector("\udcff", forever)], journal=path)
