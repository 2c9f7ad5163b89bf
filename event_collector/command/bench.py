"""`event-collector bench`: a comparison of modes, from the import of the handler to the recommendation."""

import argparse
import asyncio
import math
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import msgspec

from event_collector.benchmark.rendering import render_text
from event_collector.benchmark.report import Environment, Report, make_report
from event_collector.benchmark.trial import GRACE, Subject, Trial, batch_contenders_of, contenders_of, worker_counts
from event_collector.benchmark.trial_figures import Contender, Measured
from event_collector.command.bench_subject import Assignment, SubjectProcess, payload_values
from event_collector.command.options import (
    UsageError,
    add_command,
    add_loop,
    add_progress_interval,
    count,
    duration,
    loop_factory,
)
from event_collector.command.progress import ProgressCounts, ProgressDisplay, make_display
from event_collector.command.standard_streams import take_standard_streams, write_all
from event_collector.command.target import collector_of, find
from event_collector.handlers.collector import EXECUTOR, Collector, common_payload_type
from event_collector.handlers.signature import describe
from event_collector.life.interruption import SIGNALS, exit_status
from event_collector.values.errors import ConfigError
from event_collector.values.extras import import_extra
from event_collector.values.json_values import UnknownType
from event_collector_workers.machine.probe import granted_cpus, memory_limit

SECONDS = 20.0
MAX_LINES = 10_000
MAX_BYTES = 64 * 1024 * 1024  # bytes of JSON payloads in memory at once: those of the input, and those of a round
MEMORY_SHARE = 0.15  # the share of the memory of this machine or container at which a contender is stopped

DESCRIPTION = """\
Run a handler in each mode it can run in, side by side, and recommend one: mode, worker processes, events at once, and
the lines of code. Each mode runs in its own process; the modes take turns until the figures are precise enough or the
time is over.

MODULE:OBJECT is a handler, a Collector, or a function without parameters that returns one, as for `run`. It runs many
times on real payloads: side effects happen. A plain handler is also measured as it would be if it were written as
`async def`. A Collector with a batch handler is measured in its own mode, with batches of 1, 4, 16, 64 and 256 events;
the smallest batch within 5 percent of the best throughput is recommended.
"""

EPILOG = """\
columns:
  events/s      median of the rounds, with the 95 percent interval of a bootstrap
  at once       events in flight: the smallest number whose throughput is close to the maximum
  p50, p99      time from sending an event to its result, at that number
  CPU/event     CPU time of the program and, in the next column, of its worker processes
  memory        private memory of the program and its worker processes
  bound by      CPU, IO (the handler waits), the loop (dispatching events), serialization

exit status:
  0  there is a recommendation            2    wrong usage
  1  there is none, or it cannot tell     130  ended by Ctrl-C

examples:
  event-collector bench handlers:handle --input events.ndjson
  event-collector bench src/parse.py:parse --payload '{"n": 7}' --workers 1,2,4,8 --html report.html
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = add_command(
        subparsers, "bench", run, "find out which mode and how many workers suit a handler", DESCRIPTION, EPILOG
    )
    parser.add_argument("target", metavar="MODULE:OBJECT", help="the handler")
    _add_payloads(parser.add_argument_group("payloads (one of these)").add_mutually_exclusive_group(required=True))
    _add_measuring(parser.add_argument_group("what is measured"))
    _add_output(parser.add_argument_group("output"))


def _add_payloads(group: Any) -> None:
    add = group.add_argument
    add(
        "--input", metavar="FILE",
        help="newline-delimited JSON, each line a payload; its first 10,000 lines are used repeatedly; '-' is "
        "standard input",
    )  # fmt: skip
    add("--payload", metavar="JSON", action="append", help="a payload; repeat the option for several payloads")


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--seconds", metavar="N", type=duration, default=SECONDS,
        help="approximate time limit (default: %(default)g); ends earlier when the figures are precise enough",
    )  # fmt: skip
    add(
        "--mode", dest="modes", action="append", choices=("coroutine", "thread", "process"),
        help="measure only this mode; may be repeated",
    )  # fmt: skip
    add(
        "--workers", metavar="N,N", type=_counts,
        help="numbers of worker processes (default: 1, a quarter of the CPUs granted, all of them; more if the "
        "handler waits)",
    )  # fmt: skip
    add("--count", metavar="N", type=count, help="events of each round (default: chosen by their duration)")
    add_loop(group)


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", action="store_true", help="print all figures as JSON instead of a table")
    group.add_argument("--html", metavar="FILE", help="also write a self-contained HTML page (needs the extra `web`)")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress")
    add_progress_interval(group)


def _counts(text: str) -> list[int]:
    return sorted({count(part.strip()) for part in text.split(",")})


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    if options.html is not None:
        _check_page(options.html)
    stdin, stdout = take_standard_streams()
    loop_name = "asyncio" if loop_factory(options.loop) is None else "uvloop"
    collector, name = _find_collector(options.target)
    lines = options.payload or _read_lines(options.input, stdin)
    _check_payloads(lines, common_payload_type([collector]))
    cpus = max(1, math.ceil(granted_cpus()))
    contenders = _contenders(collector, options, cpus)
    if not contenders:
        raise UsageError(f"{options.target} is an `async def`, which cannot run in mode thread")
    environment = Environment.here(loop_name, cpus)
    # More workers than CPUs are tried for a handler that gets one event.
    trial, number = _measure(options, lines, contenders, 0 if options.workers or collector.batch else cpus)
    report = make_report(
        trial.found, target=options.target, name=name, collector=collector,
        command=shlex.join(["event-collector", *sys.argv[1:]]), environment=environment, seconds=trial.used,
        settled=trial.settled,
    )  # fmt: skip
    _write_report(report, options, stdout)
    if number is not None:
        return exit_status(number)
    return 0 if report.recommendation.contender is not None else 1


def _contenders(collector: Collector, options: argparse.Namespace, cpus: int) -> list[Contender]:
    modes = options.modes or ()
    if collector.batch is not None:
        mode = "process" if collector.is_in_processes else "thread" if collector.mode == EXECUTOR else collector.mode
        return batch_contenders_of(mode=mode, workers=options.workers or [cpus], modes=modes)
    workers = options.workers or worker_counts(cpus)
    return contenders_of(asynchronous=collector.asynchronous, workers=workers, modes=modes)


def _measure(
    options: argparse.Namespace, lines: list[str], contenders: list[Contender], cpus: int
) -> tuple[Trial, int | None]:
    """Run the trial; return it, and the signal that has cut it short."""

    def open_subject(contender: Contender) -> Subject:
        assignment = Assignment(options.target, contender, lines, options.loop)
        return SubjectProcess(assignment, max(GRACE, options.seconds))

    display = make_display(options.seconds, quiet=options.quiet, interval=options.progress_interval)
    average = sum(map(len, lines)) / len(lines)
    trial = Trial(
        open_subject, seconds=options.seconds, events=options.count, cpus=cpus, clock=monotonic,
        max_events=math.ceil(MAX_BYTES / max(1.0, average)), max_memory=(memory_limit() or math.inf) * MEMORY_SHARE,
        show=_progress_of(display, options.seconds),
    )  # fmt: skip
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        trial.run(contenders)
    except _SignalReceived as received:
        print("event-collector bench: stopped; what was measured until then:", file=sys.stderr)
        return trial, received.args[0]
    finally:
        display.close()
    return trial, None


class _SignalReceived(BaseException):
    """Its argument is the number of the signal."""


def _stop(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise _SignalReceived(number)


def _progress_of(display: ProgressDisplay, seconds: float) -> Callable[[Sequence[Measured], str], None]:
    """Return a callback of the trial that displays its progress: the share of the time that is used."""
    began = last = monotonic()

    def show(field: Sequence[Measured], _step: str) -> None:
        nonlocal last
        now = monotonic()
        if now - last < display.interval:
            return
        last = now
        used = now - began
        events = sum(one.events for one in field)
        failed = sum(round(one.failures * one.events) for one in field)
        rate = events / used if used > 0 else 0.0
        display.show(ProgressCounts(events, failed, rate, min(used, seconds)))

    return show


def _find_collector(reference: str) -> tuple[Collector, str]:
    """Return the collector, and the name of its handler in the user's code."""
    found = find(reference)
    try:
        collector = asyncio.run(collector_of(found, reference))
    except ConfigError as exc:
        raise UsageError(str(exc)) from None
    if found is collector.handler:
        return collector, reference.rpartition(":")[2]
    return collector, describe(collector.handler).rpartition(".")[2]


def _read_lines(path: str, stdin: int | None) -> list[str]:
    """Return the first lines that are not empty, at least one, within MAX_LINES and MAX_BYTES."""
    if path == "-" and stdin is None:
        raise UsageError("standard input is closed")
    lines: list[str] = []
    number, left = 0, MAX_BYTES
    try:
        with open(stdin if path == "-" and stdin is not None else path, "rb") as file:
            while number < MAX_LINES:
                number += 1
                line = file.readline(left + 1)
                left -= len(line)
                if not line or left < 0:
                    break
                if line.strip():
                    lines.append(line.removesuffix(b"\n").decode())
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise UsageError(f"line {number} is not JSON: {exc}") from None
    if not lines:
        raise UsageError(f"{path} has no lines")
    return lines


def _check_payloads(lines: list[str], line_type: Any) -> None:
    """Reject payloads that do not fit the handler: the benchmark would measure their errors."""
    try:
        payload_values(lines, line_type)(len(lines))
    except (ValueError, TypeError, UnknownType) as exc:
        raise UsageError(f"payloads: {exc}") from None


def _check_page(path: str) -> None:
    """Reject a page that could not be written in the end."""
    try:
        import_extra("jinja2", "web")
        with Path(path).open("a", encoding="utf-8"):
            return
    except ConfigError as exc:
        raise UsageError(f"--html: {exc}") from None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from None


def _write_page(report: Report, path: Path) -> None:
    from event_collector.web.bench_reports import report_sections  # needs the extra `web`, as the next one does
    from event_collector.web.templating import page_file

    page = page_file(f"Modes of {report.target}", report_sections({report.target: report}))
    path.write_text(page, encoding="utf-8")


def _write_report(report: Report, options: argparse.Namespace, stdout: int) -> None:
    if options.html is not None:
        _write_page(report, Path(options.html))
    text = msgspec.json.format(msgspec.json.encode(report)).decode() if options.json else render_text(report)
    try:
        write_all(stdout, f"{text}\n".encode())
    except BrokenPipeError:  # the reader has closed the pipe
        return
