"""`event-collector top`: a live page about a running queue, in the terminal."""

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

import msgspec

from event_collector.command.monitor_client import MonitorClient, add_path, path_of
from event_collector.command.options import add_command
from event_collector.values.extras import install_line
from event_collector.watching.figures import FIGURES, Subject
from event_collector.watching.snapshot import JournalSnapshot, ProgressSnapshot, Snapshot
from event_collector.watching.socket_lines import Unreachable
from event_collector.watching.tables import UNKNOWN, columns, plural, printable, text_of

CONNECT_TIMEOUT: Final = 5.0
ONCE_TIMEOUT: Final = 15.0  # seconds to wait for two snapshots; only the second one has rates
REFRESH: Final = 1.0  # seconds between two drawings of the screen, with or without a new snapshot

PLAIN: Final = ""
HEAD: Final = "bold"
WARNING: Final = "bold red"

PROGRESS: Final = 10  # events whose progress is shown
DECISIONS: Final = 5  # decisions that are shown, the last ones
SILENCE: Final = 3.0  # seconds without a snapshot after which the page warns

Display: TypeAlias = Callable[[Snapshot, float], None]
"""Displays the last snapshot, which came so many seconds ago."""

DESCRIPTION = """\
Show a running queue: events, collectors, worker processes, and the last scaling decisions. The queue was made with
monitor=PATH, or run with `event-collector run --monitor PATH`.

On a terminal the page fills the screen and is redrawn every second, until q or Ctrl-C. Elsewhere, and with --once,
the command writes plain text.
"""

EPILOG = """\
examples:
  event-collector top /run/app/queue.sock
  event-collector top --once
  event-collector top --json | jq '.collectors[] | [.key, .rate]'
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = add_command(subparsers, "top", run, "show a running queue, live", DESCRIPTION, EPILOG)
    add_path(parser)
    parser.add_argument("--once", action="store_true", help="show the queue once, and exit")
    parser.add_argument("--json", action="store_true", help="write a line of JSON for each snapshot")


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    path = path_of(options.path)
    signal.signal(signal.SIGTERM, _exit)  # an exception, so that the terminal is restored
    try:
        with contextlib.closing(MonitorClient(path, CONNECT_TIMEOUT)) as client, _display(options) as display:
            if options.once:
                _show_once(client, display)
            else:
                with _quit_key():
                    end = _follow(client, display)
                _say(end)
    except Unreachable as exc:
        _say(str(exc))
        return 1
    except KeyboardInterrupt:  # the regular end
        return 0
    except BrokenPipeError:
        sys.stdout = None  # else the interpreter flushes it at exit
    return 0


def _exit(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _say(text: str) -> None:
    print(f"event-collector top: {text}", file=sys.stderr)


@contextlib.contextmanager
def _quit_key() -> Iterator[None]:
    """Have the key q do what Ctrl-C does, if this is the program that the terminal's keys are for."""
    try:
        import termios
        import tty

        is_ours = sys.stdin.isatty() and sys.stdout.isatty() and os.tcgetpgrp(0) == os.getpgrp()
    except (ImportError, AttributeError, OSError):  # Windows, a closed stream, another session's terminal
        is_ours = False
    if not is_ours:
        yield
        return
    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    threading.Thread(target=_wait_for_q, name="keys", daemon=True).start()
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _wait_for_q() -> None:
    while key := os.read(0, 1):
        if key in b"qQ":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return


class _PlainDisplay:
    """Prints each new snapshot, as a line of JSON or as a page of text."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last: Snapshot | None = None

    def __call__(self, snapshot: Snapshot, _silence: float) -> None:
        if snapshot is self._last:
            return
        is_first, self._last = self._last is None, snapshot
        if self._as_json:
            print(msgspec.json.encode(snapshot).decode(), flush=True)
        else:
            print(
                *([] if is_first else [""]),
                *(line.text for line in page(snapshot, width=_width())),
                sep="\n",
                flush=True,
            )


@contextlib.contextmanager
def _screen_display() -> Iterator[Display]:
    """Fill the terminal, and restore it at the end."""
    # rich is optional, and slow to import.
    from rich.live import Live
    from rich.text import Text

    with Live(screen=True, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def show(snapshot: Snapshot, silence: float) -> None:
            lines = [Text(line.text, line.style) for line in page(snapshot, silence, _width())]
            live.update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines), refresh=True)

        yield show


def _display(options: argparse.Namespace) -> contextlib.AbstractContextManager[Display]:
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    if is_terminal and not (options.json or options.once):
        if importlib.util.find_spec("rich") is not None:
            return _screen_display()
        _say(f"the full-screen display needs rich: {install_line('top')}")
    return contextlib.nullcontext(_PlainDisplay(as_json=options.json))


def _show_once(client: MonitorClient, display: Display) -> None:
    """Show one snapshot, if possible one with rates; raises Unreachable if none came in time."""
    deadline, last = monotonic() + ONCE_TIMEOUT, None
    while last is None or last.elapsed is None:
        try:
            snapshot = client.next(max(0.0, deadline - monotonic()))
        except EOFError:
            break
        if snapshot is None:
            break
        last = snapshot
    if last is None:
        raise Unreachable(
            f"no answer within {ONCE_TIMEOUT:g} s: the event loop of the queue is blocked, or the program is stopped"
        )
    display(last, 0.0)


def _follow(client: MonitorClient, display: Display) -> str:
    """Show snapshots until the connection is closed; return the reason."""
    last: Snapshot | None = None
    came = monotonic()
    while True:
        try:
            snapshot = client.next(REFRESH)
        except EOFError:
            return _describe_end(last)
        if snapshot is not None:
            last, came = snapshot, monotonic()
        if last is not None:
            display(last, monotonic() - came)


def _describe_end(last: Snapshot | None) -> str:
    if last is None:
        return "the connection was closed before anything was shown"
    errors = sum(one.errors for one in last.collectors)
    done = f"{plural(last.events.ended, 'event')} finished, {plural(errors, 'error')}"
    if last.state == "stopped":
        return f"{last.queue} of pid {last.pid} has ended: {done}"
    return f"the program, pid {last.pid}, is gone, or has closed the connection; when last seen: {done}"


class StyledLine(NamedTuple):
    """A line of the page, with the style it has on a screen: PLAIN, HEAD or WARNING."""

    text: str
    style: str = PLAIN


def _width() -> int:
    return shutil.get_terminal_size().columns


def page(snapshot: Snapshot, silence: float = 0.0, width: int = 80) -> list[StyledLine]:
    """Return the page about a snapshot that came `silence` seconds ago, for a terminal of `width` columns."""
    return [
        StyledLine(part, line.style)
        for line in _lines(snapshot, silence, width)
        for part in textwrap.wrap(printable(line.text), max(20, width), subsequent_indent="  ") or [""]
    ]


def _lines(snapshot: Snapshot, silence: float, width: int) -> Iterator[StyledLine]:
    events = snapshot.events
    clock = datetime.fromtimestamp(snapshot.time).astimezone().strftime("%H:%M:%S")
    yield StyledLine(
        f"{snapshot.queue}  {snapshot.state}  pid {snapshot.pid}  CPU {text_of(snapshot.cpu, '{cpu}')}  {clock}", HEAD
    )
    if silence > SILENCE:
        yield StyledLine(f"no answer for {silence:.0f} s: its event loop is blocked, or it is stopped", WARNING)
    if snapshot.is_paused or snapshot.paused_collectors:
        yield StyledLine(
            f"paused: {'the queue' if snapshot.is_paused else ', '.join(snapshot.paused_collectors)}", WARNING
        )
    if snapshot.problem is not None:
        yield StyledLine(snapshot.problem, WARNING)
    yield StyledLine(
        f"events: {events.accepted:,} accepted = {events.finished:,} finished + {events.in_handlers:,} in handlers + "
        f"{events.queued:,} queued + {events.scheduled:,} scheduled + {events.dead:,} dead; {events.dropped:,} dropped"
    )
    yield StyledLine(
        f"per second: {_rate(snapshot.arrival_rate)} in, {_rate(snapshot.departure_rate)} out; load {snapshot.load:.2f}"
    )
    yield StyledLine(
        f"consumers: {snapshot.consumers:,}, wanted {snapshot.target_consumers:,}; "
        f"workers: {snapshot.workers_ready:,}, wanted {snapshot.target_workers:,}, died {snapshot.worker_restarts:,}"
    )
    if snapshot.journal is not None:
        yield from _journal(snapshot.journal)
    collectors = [(one, (one.key, one.place)) for one in snapshot.collectors]
    yield from _table("collector", ("collector", "runs in"), collectors, width)
    if snapshot.feeds:
        feeds = [(one, (one.name, f"{one.state}{', held back' if one.is_held_back else ''}")) for one in snapshot.feeds]
        yield from _table("feed", ("feed", "state"), feeds, width)
    if snapshot.progress:
        yield from _reports(snapshot.progress)
    if snapshot.decisions:
        yield StyledLine("")
        yield StyledLine("last decisions", HEAD)
        for one in reversed(snapshot.decisions[-DECISIONS:]):
            yield StyledLine(f"{one.subject} {one.before} -> {one.after}: {one.reason}")
    if snapshot.workers:
        yield from _workers(snapshot, width)


def _journal(journal: JournalSnapshot) -> Iterator[StyledLine]:
    on_record, unwritten = (text_of(count, "{event}") for count in (journal.on_record, journal.unwritten))
    lag, size = text_of(journal.lag, "s"), text_of(journal.size, "By")
    yield StyledLine(f"journal: {on_record} on record, {unwritten} to be written, lag {lag}; {size}")
    if journal.trouble is not None:
        yield StyledLine(journal.trouble, WARNING)


def _reports(progress: Sequence[ProgressSnapshot]) -> Iterator[StyledLine]:
    yield StyledLine("")
    yield StyledLine("progress", HEAD)
    for report in progress[:PROGRESS]:
        yield StyledLine(_progress(report))
    if (more := len(progress) - PROGRESS) > 0:
        yield StyledLine(f"and {plural(more, 'other event')}")


def _workers(snapshot: Snapshot, width: int) -> Iterator[StyledLine]:
    has_groups = len(snapshot.groups) > 1
    if has_groups:
        yield from _table("group", ("worker group",), [(one, (one.name,)) for one in snapshot.groups], width)
    workers = [
        (one, (UNKNOWN if one.pid is None else str(one.pid), *([one.group] if has_groups else []), one.state))
        for one in snapshot.workers
    ]
    yield from _table("worker", ("worker", *(["group"] if has_groups else []), "state"), workers, width)


def _table(
    subject: Subject, head: Sequence[str], rows: Sequence[tuple[object, Sequence[str]]], width: int
) -> Iterator[StyledLine]:
    """Yield a table of collectors or workers, each with its first cells; the other columns are figures."""
    shown = [
        (heading, read, figure.unit)
        for figure in FIGURES
        if figure.subject == subject
        for heading, read in figure.columns()
    ]
    headings = (*head, *(heading for heading, _, _ in shown))
    cells = [
        (_clipped(first[0], width // 3), *first[1:], *(text_of(read(one), unit) for _, read, unit in shown))
        for one, first in rows
    ]
    for table in columns(headings, cells, width).split("\n\n"):
        top, *others = table.splitlines()
        yield StyledLine("")
        yield StyledLine(top, HEAD)
        yield from map(StyledLine, others)


def _progress(report: ProgressSnapshot) -> str:
    """Return a line such as "event 7, load: 30 of 100 (30%), rows, 2 s ago"."""
    where = "" if report.collector is None else f", {_clipped(report.collector, 40)}"
    done, total = _number(report.done), report.total
    share = "" if not total else f" of {_number(total)} ({min(report.done / total, 1.0):.0%})"
    note = f", {_clipped(report.note, 80)}" if report.note else ""
    return f"event {report.event}{where}: {done}{share}{note}, {report.age:.0f} s ago"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"


def _clipped(name: str, length: int) -> str:
    text = printable(name)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _rate(rate: float | None) -> str:
    return text_of(rate, "{event}/s")
