"""`event-collector top`: a running queue, live in the terminal."""

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final, NoReturn, Protocol

import msgspec

from event_collector.command.monitor_client import MonitorClient, Unreachable, add_path, path_of
from event_collector.command.top_page import page
from event_collector.values.extras import install_line
from event_collector.watching.snapshot import Snapshot

__all__ = ["add_parser"]

LET_IN: Final = 5.0
"""Seconds to be let in."""
ONCE: Final = 15.0
"""Seconds to wait for the two snapshots of which the second has rates."""
REFRESH: Final = 1.0
"""Seconds after which the screen is drawn anew, whether there is news or not."""

DESCRIPTION = """\
Show a running queue: events, collectors, worker processes, and the last decisions about their number. The queue
has been made with monitor=PATH, or run with `event-collector run --monitor PATH`.

On a terminal it fills the screen, once a second, until Ctrl-C. Elsewhere, and with --once, it writes plain text.
"""

EPILOG = """\
examples:
  event-collector top /run/app/queue.sock
  event-collector top --once
  event-collector top --json | jq '.collectors[] | [.key, .rate]'
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "top",
        help="show a running queue, live",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_path(parser)
    parser.add_argument("--once", action="store_true", help="show it once, and end")
    parser.add_argument("--json", action="store_true", help="write a line of JSON for each snapshot")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status.

    Raises:
        UsageError: no socket was named.

    """
    path = path_of(options.path)
    signal.signal(signal.SIGTERM, _end)  # by an exception, so that the terminal is given back
    try:
        with contextlib.closing(MonitorClient(path, LET_IN)) as client, _display(options) as display:
            ended = _once(client, display) if options.once else _follow(client, display)
    except Unreachable as exc:
        return _complain(str(exc))
    except KeyboardInterrupt:  # the way to end it
        return 0
    except BrokenPipeError:
        sys.stdout = None  # the interpreter would flush it once more
        return 0
    if ended is not None:
        print(f"event-collector top: {ended}", file=sys.stderr)
    return 0


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _complain(text: str) -> int:
    print(f"event-collector top: {text}", file=sys.stderr)
    return 1


class Display(Protocol):
    """Shows snapshots."""

    def show(self, snapshot: Snapshot, silence: float) -> None:
        """Show the last snapshot, which came `silence` seconds ago."""


class _Text:
    """Plain text, one page after the other: only news."""

    def __init__(self) -> None:
        self._shown: Snapshot | None = None

    def show(self, snapshot: Snapshot, silence: float) -> None:
        if snapshot is self._shown:
            return
        apart = "" if self._shown is None else "\n"
        self._shown = snapshot
        print(apart + "\n".join(line.text for line in page(snapshot)), flush=True)


class _Json(_Text):
    """A line of JSON for each."""

    def show(self, snapshot: Snapshot, silence: float) -> None:
        if snapshot is not self._shown:
            self._shown = snapshot
            print(msgspec.json.encode(snapshot).decode(), flush=True)


class _Screen:
    """The whole terminal, given back at the end."""

    def __init__(self) -> None:
        # rich takes a while to import, and not everybody has it.
        from rich.live import Live

        self.live = Live(screen=True, auto_refresh=False, vertical_overflow="ellipsis")

    def show(self, snapshot: Snapshot, silence: float) -> None:
        from rich.text import Text

        lines = [Text(line.text, line.style) for line in page(snapshot, silence)]
        self.live.update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines), refresh=True)


@contextlib.contextmanager
def _display(options: argparse.Namespace) -> Iterator[Display]:
    """Return what suits standard output, and leave the terminal as it was."""
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    if options.json:
        yield _Json()
    elif options.once or not is_terminal:
        yield _Text()
    elif importlib.util.find_spec("rich") is None:
        print(
            f"event-collector top: for a screen of its own it needs rich: {install_line('top')}",
            file=sys.stderr,
        )
        yield _Text()
    else:
        screen = _Screen()
        with screen.live:
            yield screen


def _once(client: MonitorClient, display: Display) -> str | None:
    """Show one snapshot, one with rates if there is one in time; return what there is to say."""
    deadline, last = monotonic() + ONCE, None
    while last is None or last.elapsed is None:
        try:
            snapshot = client.next(max(0.0, deadline - monotonic()))
        except EOFError:
            break
        if snapshot is None:
            break
        last = snapshot
    if last is None:
        raise Unreachable(f"no answer within {ONCE:g} s: its event loop is blocked, or it is stopped")
    display.show(last, 0.0)
    return None


def _follow(client: MonitorClient, display: Display) -> str:
    """Show what comes until nothing comes any more; return why."""
    last: Snapshot | None = None
    came = monotonic()
    while True:
        try:
            snapshot = client.next(REFRESH)
        except EOFError:
            return _farewell(last)
        if snapshot is not None:
            last, came = snapshot, monotonic()
        if last is not None:
            display.show(last, monotonic() - came)


def _farewell(last: Snapshot | None) -> str:
    if last is None:
        return "the connection was closed before anything was shown"
    errors = sum(one.errors for one in last.collectors)
    done = f"{last.events.ended:,} events finished, {errors:,} errors"
    if last.state == "stopped":
        return f"{last.queue} of pid {last.pid} has ended: {done}"
    return f"the program, pid {last.pid}, is gone, or has let this viewer go; when last seen: {done}"
