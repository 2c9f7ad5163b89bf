"""`event-collector bench`: a comparison of modes, from the import of the handler to the recommendation."""

import argparse
import asyncio
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import msgspec

from event_collector.benchmark.figures import Contender
from event_collector.benchmark.measured import Measured
from event_collector.benchmark.report import Machine, Report, make_report
from event_collector.benchmark.subject import Assignment, SubjectProcess
from event_collector.benchmark.table import render
from event_collector.benchmark.trial import GRACE, Subject, Trial, contenders_of, crews
from event_collector.benchmark.web_page import render_page
from event_collector.command.bench_options import add_options
from event_collector.command.files import take_standard_streams
from event_collector.command.loops import loop_factory
from event_collector.command.ndjson import Line, LineDecoder, LineSplitter, UnknownType
from event_collector.command.progress import Progress, make_progress
from event_collector.command.target import collector_of, find
from event_collector.command.usage import UsageError
from event_collector.handlers.collector import Collector, common_payload_type
from event_collector.handlers.signature import describe
from event_collector.life.interruption import SIGNALS, exit_status
from event_collector.values.errors import ConfigError
from event_collector_workers.machine.probe import granted_cpus, memory_limit

__all__ = ["add_parser"]

SUBJECT = (sys.executable, "-m", "event_collector.command.bench_subject")
MAX_LINES = 10_000
MAX_BYTES = 64 * 1024 * 1024
"""Bytes of payloads, as JSON, in memory at once: those of the input, and those of one round."""
MEMORY_SHARE = 0.15
"""The share of the memory of this machine or container at which one of the modes is stopped."""
CHUNK = 256 * 1024
MILLISECONDS = 1000


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    add_options(subparsers).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status.

    Raises:
        UsageError: what was asked for cannot work.

    """
    if options.html is not None:
        _check_writable(options.html)
    stdin, stdout = take_standard_streams()
    loop_factory(options.loop)
    given = _given(find(options.target), options.target)
    lines = _payloads(options, stdin)
    _check(lines, common_payload_type([given]))
    cpus = max(1, math.ceil(granted_cpus()))
    contenders = contenders_of(
        asynchronous=given.asynchronous, workers=options.workers or crews(cpus), modes=options.modes or ()
    )
    if not contenders:
        raise UsageError(f"{options.target} is an `async def`, which cannot run in mode thread")
    machine = Machine.here(_loop_name(options.loop), cpus)
    trial, number = _try(options, lines, contenders, 0 if options.workers else cpus)
    report = make_report(
        trial.found, target=options.target, name=describe(given.handler).rpartition(".")[2], key=given.key,
        command=_command_line(), machine=machine, seconds=trial.used, settled=trial.settled,
    )  # fmt: skip
    _give_out(report, options, stdout)
    if number is not None:
        return exit_status(number)
    return 0 if report.recommendation.contender is not None else 1


def _try(
    options: argparse.Namespace, lines: list[str], contenders: list[Contender], cpus: int
) -> tuple[Trial, int | None]:
    """Measure; return the trial, and the signal that has cut it short."""

    def open_subject(contender: Contender) -> Subject:
        timeout = max(GRACE, options.seconds)
        return SubjectProcess(SUBJECT, Assignment(options.target, contender, lines, options.loop), timeout)

    budget = round(options.seconds * MILLISECONDS)
    progress = make_progress(budget, quiet=options.quiet, interval=options.progress_interval)
    average = sum(map(len, lines)) / len(lines)
    trial = Trial(
        open_subject, seconds=options.seconds, events=options.count, cpus=cpus, clock=monotonic,
        max_events=math.ceil(MAX_BYTES / max(1.0, average)), max_memory=(memory_limit() or math.inf) * MEMORY_SHARE,
        show=_shower(progress, options.seconds),
    )  # fmt: skip
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        trial.run(contenders)
    except _Stopped as stopped:
        print("event-collector bench: stopped; what was measured until then:", file=sys.stderr)
        return trial, stopped.number
    finally:
        progress.close()
    return trial, None


class _Stopped(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # the next one ends the process at once
    raise _Stopped(number)


class _Standing:
    """What the progress shows: of the time that there is, how much is used."""

    def __init__(self, field: Sequence[Measured], used: float, seconds: float) -> None:
        self.events = sum(one.events for one in field)
        self.failed = sum(round(one.failures * one.events) for one in field)
        self.rate = self.events / used if used > 0 else 0.0
        self.done = round(min(used, seconds) * MILLISECONDS)


def _shower(progress: Progress, seconds: float) -> Callable[[Sequence[Measured], str], None]:
    began = shown = monotonic()

    def show(field: Sequence[Measured], _doing: str) -> None:
        nonlocal shown
        now = monotonic()
        if now - shown >= progress.interval:
            shown = now
            progress.show(_Standing(field, now - began, seconds))

    return show


def _given(found: Any, reference: str) -> Collector:
    try:
        return asyncio.run(collector_of(found, reference))
    except ConfigError as exc:
        raise UsageError(str(exc)) from None


def _payloads(options: argparse.Namespace, stdin: int | None) -> list[str]:
    """Return the payloads as JSON, at least one."""
    if options.payload:
        return list(options.payload)
    lines = _read(options.input, stdin)
    if not lines:
        raise UsageError(f"{options.input} has no lines")
    return lines


def _read(path: str, stdin: int | None) -> list[str]:
    if path == "-" and stdin is None:
        raise UsageError("standard input is closed")
    splitter, read = LineSplitter(MAX_BYTES), 0
    lines: list[str] = []
    try:
        with open(stdin if path == "-" and stdin is not None else path, "rb") as file:
            while read < MAX_BYTES and len(lines) < MAX_LINES and (chunk := file.read(CHUNK)):
                read += len(chunk)
                lines += [_text(line) for line in splitter.feed(chunk)]
            if not file.read(1):
                lines += [_text(line) for line in splitter.finish()]
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from None
    return [line for line in lines if line.strip()][:MAX_LINES]


def _text(line: Line) -> str:
    try:
        return (line.data or b"").decode()
    except UnicodeDecodeError as exc:
        raise UsageError(f"line {line.number} is not JSON: {exc}") from None


def _check(lines: list[str], line_type: Any) -> None:
    """Refuse payloads that the handler does not take: their errors would be measured."""
    try:
        decode = LineDecoder(line_type, MAX_BYTES)
        for number, line in enumerate(lines, 1):
            decode(Line(number, line.encode(), len(line)))
    except (ValueError, TypeError, UnknownType) as exc:
        raise UsageError(f"payloads: {exc}") from None


def _check_writable(path: str) -> None:
    try:
        with Path(path).open("a", encoding="utf-8"):
            return
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from None


def _give_out(report: Report, options: argparse.Namespace, stdout: int) -> None:
    if options.html is not None:
        Path(options.html).write_text(render_page(report), encoding="utf-8")
    text = msgspec.json.format(msgspec.json.encode(report)).decode() if options.json else render(report)
    view = memoryview(f"{text}\n".encode())
    try:
        while view:
            view = view[os.write(stdout, view) :]
    except BrokenPipeError:  # nobody reads it
        return


def _loop_name(choice: str) -> str:
    return "asyncio" if loop_factory(choice) is None else "uvloop"


def _command_line() -> str:
    return " ".join(["event-collector", *map(shlex.quote, sys.argv[1:])])
