"""What handlers in worker processes log, print and warn is emitted in the program."""

import asyncio
import logging
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector_workers.pool_errors import WorkerCrashed
from tests.event_collector.modes import BOUND
from tests.event_collector.tiers.workers import sample_logging
from tests.event_collector.tiers.workers.sample_logging import log, say

METHODS = multiprocessing.get_all_start_methods()


class Keeper(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """Keeps what the loggers of the handlers and of workers emit, from level info up."""
    keeper, loggers = Keeper(), (log, logging.getLogger("event_collector.worker"))
    for logger in loggers:
        logger.addHandler(keeper)
        logger.setLevel(logging.INFO)
    yield keeper
    for logger in loggers:
        logger.removeHandler(keeper)
        logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Leave structlog as it was."""
    yield
    structlog.reset_defaults()


def one_worker(handler: Any = say, **options: Any) -> CollectorQueue:
    method, least = options.pop("start_method", None), options.pop("min_workers", 0)
    collectors = [Collector("say", handler, mode="process", **options)]
    return CollectorQueue(collectors, min_workers=least, max_workers=1, start_method=method)


@pytest.mark.parametrize("method", METHODS)
async def test_a_record_is_emitted_before_its_result_is_there(keeper: Keeper, method: str) -> None:
    """With level, name, text, fields of simple types, and the event, attempt, worker and pid that it comes from."""
    async with one_worker(start_method=method) as queue:
        event = await queue.get_publisher().send(Payload("log"))
        pid = (await event.wait()).first().unwrap()
        (record,) = keeper.records
    assert (record.name, record.levelname, record.getMessage()) == ("sample.logging", "INFO", "hello world")
    assert (record.event_id, record.collector, record.attempt) == (event.id, "say", 1)
    assert (record.process, record.worker_pid, record.worker) == (pid, pid, 0)
    assert (record.funcName, record.filename, record.module) == ("greet", "sample_logging.py", "sample_logging")
    assert (record.number, record.when) == (7, [1, 2])
    assert record.odd == "<Odd without a repr>"
    assert record.args is None


@pytest.mark.parametrize("method", METHODS)
async def test_handlers_of_the_program_get_each_record_once(
    keeper: Keeper, method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the module of the handler has configured at import is the program's as well, and not used twice."""
    async with one_worker(sample_logging.say_async, start_method=method) as queue:
        await queue.call("say", "log")
    assert len(keeper.records) == 1
    assert capfd.readouterr().err.count("hello world") <= 1


async def test_an_exception_has_its_traceback(keeper: Keeper) -> None:
    """As text, which a formatter appends."""
    async with one_worker() as queue:
        await queue.call("say", "exception")
    (record,) = keeper.records
    text = logging.Formatter().format(record)
    assert text.startswith("failed\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: within")


@pytest.mark.parametrize("end", ["die", "segv"])
async def test_last_words_arrive(keeper: Keeper, end: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A record or line that was made before a crash is emitted, before the error of the event is there."""
    async with one_worker() as queue:
        with pytest.raises(WorkerCrashed):
            await queue.call("say", end)
        assert [record.getMessage() for record in keeper.records] == ["last words"]
        assert "last line" in capfd.readouterr().out or end != "die"


async def test_a_worker_sends_what_the_program_keeps(keeper: Keeper) -> None:
    """The levels of the program's loggers hold in workers that start later; a filter of the program sees the rest."""
    log.setLevel(logging.DEBUG)
    async with one_worker() as queue:
        await queue.call("say", "debug")
        assert [record.levelname for record in keeper.records] == ["DEBUG"]
        log.setLevel(logging.ERROR)  # the worker does not know, and the program drops it
        await queue.call("say", "log")
        assert len(keeper.records) == 1


async def test_a_worker_follows_the_levels_of_the_program(keeper: Keeper) -> None:
    """A level that falls while a worker runs reaches it."""
    async with asyncio.timeout(BOUND), one_worker(min_workers=1) as queue:
        pid = await queue.call("say", "debug")
        assert keeper.records == []
        log.setLevel(logging.DEBUG)
        while not keeper.records:
            assert await queue.call("say", "debug") == pid
            await asyncio.sleep(0.01)


async def test_a_flood_arrives_in_order(keeper: Keeper) -> None:
    """A worker waits for a program that reads: nothing is dropped."""
    async with one_worker() as queue:
        await queue.call("say", "flood")
    numbers = [int(record.getMessage().split()[1]) for record in keeper.records]
    assert numbers == list(range(5000))


async def test_lines_are_printed_by_the_program(capfd: pytest.CaptureFixture[str]) -> None:
    """On the streams that the program has at that moment."""
    async with one_worker() as queue:
        await queue.call("say", "print")
        printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("to stdout 1\n", "to stderr 2\n")


async def test_warnings_are_shown_as_those_of_the_program() -> None:
    """Once for each place, whichever workers they come from."""
    with pytest.warns(UserWarning, match="careful") as caught:
        async with one_worker() as queue:
            await queue.call("say", "warn")
    (warning,) = caught
    assert warning.filename == sample_logging.__file__


async def test_exceptions_of_threads_are_logged(keeper: Keeper) -> None:
    """By the logger of workers, with the name of the thread and the traceback."""
    async with one_worker() as queue:
        await queue.call("say", "thread")
    (record,) = keeper.records
    assert record.getMessage() == "exception in thread broken of a worker"
    assert "ValueError: invalid literal for int()" in record.exc_text


@pytest.mark.parametrize("method", METHODS)
async def test_structlog_records_pass_the_processors_of_the_program(method: str) -> None:
    """With the fields that the logger and its context have, and those of the event."""
    with capture_logs() as lines:
        async with one_worker(start_method=method) as queue:
            event = await queue.get_publisher().send(Payload("structlog"))
            pid = (await event.wait()).first().unwrap()
    (line,) = [each for each in lines if each["event"] == "structured"]
    assert line == {
        "event": "structured",
        "log_level": "info",
        "number": 7,
        "bound": 1,
        "request": "r1",
        "odd": "<Odd without a repr>",
        "event_id": event.id,
        "collector": "say",
        "attempt": 1,
        "worker": 0,
        "worker_pid": pid,
    }


async def test_structlog_exceptions_are_texts() -> None:
    """The traceback is there, although the exception is not."""
    with capture_logs() as lines:
        async with one_worker() as queue:
            await queue.call("say", "exception")
    (line,) = [each for each in lines if each["event"] == "failed"]
    assert line["log_level"] == "error"
    assert line["exception"].endswith("ValueError: within")


async def test_structlog_over_logging_ends_in_logging(keeper: Keeper) -> None:
    """A program whose structlog writes with `logging` has the records there, under their names and levels."""
    named = logging.getLogger("sample.structlog")
    named.addHandler(keeper)
    named.setLevel(logging.INFO)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    async with one_worker() as queue:
        await queue.call("say", "debug")
        await queue.call("say", "structlog")
    named.removeHandler(keeper)
    named.setLevel(logging.NOTSET)
    records = [record for record in keeper.records if record.name == "sample.structlog"]
    assert [(record.getMessage(), record.levelname, record.number) for record in records] == [("structured", "INFO", 7)]


async def test_handlers_of_the_workers_own_are_kept(keeper: Keeper, tmp_path: Path) -> None:
    """A lifecycle may add a file for each worker: the record is there, and in the program."""
    path = tmp_path / "worker.log"
    async with one_worker(lifecycle=sample_logging.own_handler, ctx=Context({"path": path})) as queue:
        await queue.call("say", "log")
    assert path.read_text() == "hello world\n"
    assert len(keeper.records) == 1


async def test_a_configuration_of_the_workers_own_replaces_forwarding(
    keeper: Keeper, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a lifecycle configures decides alone; what that prints is printed by the program."""
    path = tmp_path / "worker.log"
    async with one_worker(lifecycle=sample_logging.own_configuration, ctx=Context({"path": path})) as queue:
        await queue.call("say", "log")
        await queue.call("say", "exception")
    assert path.read_text().startswith("INFO:sample.logging:hello world\nERROR:sample.logging:failed\nTraceback")
    assert "event='failed'" in capfd.readouterr().out
    assert keeper.records == []


async def test_context_variables_of_the_program_stay_out_of_the_records() -> None:
    """A worker is started by some code of the program, whose context has nothing to do with the records."""
    with structlog.contextvars.bound_contextvars(user="somebody"):
        queue = one_worker()
        await queue.init_queue()
    seen: list[Any] = []

    def keep(_logger: Any, _method: str, event: Any) -> Any:
        seen.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    await queue.call("say", "structlog")
    await queue.shut_down_queue()
    assert ["user" in line for line in seen if line["event"] == "structured"] == [False]
