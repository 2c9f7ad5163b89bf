"""Logs of every configuration: their lines arrive, and a log that raises stops no queue."""

import ast
import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import event_collector
from event_collector import Collector, CollectorQueue, Context, Payload, Retry
from event_collector.life.logger import make_logger
from tests.event_collector.modes import BOUND, balanced


def act(payload: Payload[Any], ctx: Context) -> Any:
    """Do what the payload says."""
    if payload.value == "fail":
        raise ValueError("failed")
    if payload.value == "crash":
        os._exit(7)
    if payload.value == "sleep":
        time.sleep(60)
    return payload.value


async def act_async(payload: Payload[Any], ctx: Context) -> Any:
    return act(payload, ctx)


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Leave structlog as it was."""
    yield
    structlog.reset_defaults()


async def run(mode: str, *, log: Any = None) -> None:
    """Run a queue that has many reasons to write lines, and check that it does what it should."""
    handler = act_async if mode == "coroutine" else act
    collector = Collector("c", handler, mode=mode, retry=Retry(2, 0.0), timeout=0.5)
    queue = CollectorQueue([collector], log=log, max_workers=1, max_dead_letters=2, report_interval=0.01)
    async with asyncio.timeout(4 * BOUND), queue:
        publisher = queue.get_publisher()
        values = ["fail"] * 5 + ([] if mode == "coroutine" else ["sleep"]) + (["crash"] if mode == "process" else [])
        events = await publisher.send_many(map(Payload, [*values, *range(100)]))
        results = [(await event.wait()).first() for event in events]
        assert [result.is_error for result in results] == [True] * len(values) + [False] * 100
        again = await publisher.send_many(map(Payload, range(100)))
        assert [(await event.wait()).first().unwrap() for event in again] == list(range(100))
        balanced(queue)


class Unwritable:
    """A log whose lines cannot be written."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error, self.lines = error, 0

    def __getattr__(self, level: str) -> Any:
        def write(event: str, **fields: Any) -> None:
            self.lines += 1
            raise self.error(f"cannot write {event!r}")

        return write


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
@pytest.mark.parametrize("error", [OSError, ValueError, asyncio.CancelledError])
async def test_a_log_that_raises_stops_nothing(mode: str, error: type[BaseException]) -> None:
    """Events end, dead letters are kept and pools go on although no line can be written; the loop is told."""
    reported: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    log = Unwritable(error)
    await run(mode, log=log)
    loop.set_exception_handler(None)
    assert log.lines > 3
    assert error is asyncio.CancelledError or {type(each["exception"]) for each in reported} == {error}


class BreakingRenderer:
    """A processor of the application that raises."""

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        raise TypeError("an error in a processor")


def to_stdlib(wrapper: Any, renderer: Any) -> None:
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, renderer],
        wrapper_class=wrapper,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


CONFIGURATIONS: dict[str, Callable[[], None]] = {
    "keywords of the standard library": lambda: to_stdlib(
        structlog.stdlib.BoundLogger, structlog.stdlib.render_to_log_kwargs
    ),
    "asynchronous": lambda: to_stdlib(
        structlog.stdlib.AsyncBoundLogger, structlog.processors.JSONRenderer(default=repr)
    ),
    "asynchronous, keywords": lambda: to_stdlib(
        structlog.stdlib.AsyncBoundLogger, structlog.stdlib.render_to_log_kwargs
    ),
    "formatter": lambda: to_stdlib(
        structlog.stdlib.BoundLogger, structlog.stdlib.ProcessorFormatter.wrap_for_formatter
    ),
}


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_lines_arrive_in_every_configuration(name: str, given: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Lines with all their fields reach the standard library, whether the application hands its logger over or not."""
    CONFIGURATIONS[name]()
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    with caplog.at_level(logging.DEBUG):
        await run("process", log=structlog.get_logger("mine") if given else None)
    asyncio.get_running_loop().set_exception_handler(None)
    text = "\n".join(record.getMessage() for record in caplog.records)
    for words in ("collector queue metrics", "worker started", "a dead letter had to make room"):
        assert words in text
    assert reported == []


@pytest.mark.parametrize("mode", ["coroutine", "process"])
async def test_a_processor_that_raises_stops_nothing(mode: str) -> None:
    """An error in the application's configuration is reported to the loop, for each line."""
    structlog.configure(processors=[BreakingRenderer()])
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    await run(mode)
    asyncio.get_running_loop().set_exception_handler(None)
    assert {type(each["exception"]) for each in reported} == {TypeError}


def test_a_program_without_standard_output_has_a_silent_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console has no standard output; a queue can be made all the same, and writes nothing."""
    monkeypatch.setattr("sys.stdout", None)
    for enabled in (True, False):
        make_logger("queue", enabled=enabled).error("a line")


def fields_of_lines() -> Iterator[tuple[str, str]]:
    """Yield the file and the name of each field that the package gives a log line."""
    for path in Path(event_collector.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("debug", "info", "warning", "error") and "log" in ast.unparse(node.func.value):
                    yield from ((path.name, keyword.arg) for keyword in node.keywords if keyword.arg)


def test_no_field_has_a_name_that_the_standard_library_reserves() -> None:
    """`logging` refuses `extra=` with the name of an attribute of its records: the line would be lost."""
    reserved = {*vars(logging.makeLogRecord({})), "message", "asctime"} - {"exc_info", "stack_info"}
    fields = set(fields_of_lines())
    assert len(fields) > 20
    assert not {field for field in fields if field[1] in reserved}
