"""Where the lines of a queue go: to structlog, to `logging`, or to standard error, as the application has it."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from event_collector.life import logger as loggers
from event_collector.life.logger import LOGGER, make_logger
from event_collector.life.reports import REPORT


class Keeper(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def only(*handlers: logging.Handler) -> Iterator[None]:
    """Let the logger have these handlers, and not those of the root logger."""
    logger = logging.getLogger(LOGGER)
    before, logger.handlers, logger.propagate = logger.handlers, list(handlers), False
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before, True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Leave structlog as it was."""
    yield
    structlog.reset_defaults()


def test_logging_gets_the_lines_if_it_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields are in the message and attributes of the record, tracebacks and stacks where formatters expect them."""
    keeper, log = Keeper(), make_logger("CollectorQueue-1")
    with only(keeper):
        log.warning("worker ended", pid=7, name="a name of logging's own")
        log.error("failed", exception="Traceback ...", stack="Stack ...")
        log.error("raised", exc_info=ValueError("x"))
        log.debug("detail")
    first, second, third, fourth = keeper.records
    assert first.getMessage() == 'worker ended pid=7 name="a name of logging\'s own"'
    assert (first.name, first.levelname, first.queue, first.pid) == (LOGGER, "WARNING", "CollectorQueue-1", 7)
    assert (second.exc_text, second.stack_info) == ("Traceback ...", "Stack ...")
    assert logging.Formatter().format(third).endswith("ValueError: x")
    assert fourth.levelname == "DEBUG"
    assert capsys.readouterr() == ("", "")


def test_a_handler_that_drops_everything_is_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """Libraries add a NullHandler."""
    with only(logging.NullHandler()):
        make_logger("CollectorQueue-1").warning("careful")
    assert json.loads(capsys.readouterr().err)["event"] == "careful"


def test_a_configuration_after_the_queue_was_made_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """It is looked for at each line."""
    keeper, log = Keeper(), make_logger("CollectorQueue-1")
    with only():
        log.info("before")
    with only(keeper):
        log.info("after")
    assert [record.getMessage() for record in keeper.records] == ["after"]
    assert json.loads(capsys.readouterr().err)["event"] == "before"


def test_without_a_configuration_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """From level info up. Reports go to standard output, where users of the existing library find them."""
    with only():
        log = make_logger("CollectorQueue-1")
        log.debug("detail")
        log.error("broken", collector="c")
        log.info(REPORT, qsize=0)
    printed = capsys.readouterr()
    line, report = json.loads(printed.err), json.loads(printed.out)
    assert (line["event"], line["level"], line["logger"], line["collector"]) == (
        "broken",
        "error",
        "CollectorQueue-1",
        "c",
    )
    assert report["event"] == REPORT


def test_a_program_without_streams_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no error."""
    monkeypatch.setattr(sys, "stderr", None)
    with only():
        make_logger("CollectorQueue-1").error("broken")


def test_lines_on_a_terminal_are_for_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the stream of the line that decides."""
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(loggers, "_is_terminal", lambda file: file is terminal)
    with only():
        make_logger("CollectorQueue-1").error("broken", exception="Traceback ...")
    first, *rest = terminal.getvalue().splitlines()
    assert "broken" in first
    assert rest == ["Traceback ..."]


def test_structlog_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that has configured it gets the lines there, whatever `logging` has."""
    seen: list[Any] = []

    def keep(_logger: Any, method: str, event: Any) -> Any:
        seen.append((method, dict(event)))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    keeper = Keeper()
    with only(keeper):
        make_logger("CollectorQueue-1").info("hello")
    assert seen == [("info", {"event": "hello", "logger": "CollectorQueue-1"})]
    assert keeper.records == []


def test_a_silent_queue_writes_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither to a configured `logging` nor to a stream."""
    keeper = Keeper()
    with only(keeper):
        make_logger("CollectorQueue-1", enabled=False).error("broken")
    with only():
        make_logger("CollectorQueue-1", enabled=False).error("broken")
    assert keeper.records == []
    assert capsys.readouterr() == ("", "")
