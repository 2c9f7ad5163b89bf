"""`event-collector check`: the health of a running queue, for health probes."""

import argparse
import contextlib
import sys
from time import monotonic
from typing import Any, Final

import msgspec

from event_collector.command.monitor_client import MonitorClient, add_path, path_of
from event_collector.command.options import add_command, duration
from event_collector.watching.snapshot import EventCounts, Snapshot
from event_collector.watching.socket_lines import Unreachable

TIMEOUT: Final = 1.0  # seconds; the default of a Kubernetes probe

DESCRIPTION = """\
Check the health of a running queue: one line of JSON, and an exit status for health probes. The queue was made with
monitor=PATH, or run with `event-collector run --monitor PATH`.

A queue is healthy if it accepts events and its event loop answers in time. A queue that is starting or ending is not
healthy, unless --alive is given, nor is one whose worker processes die repeatedly.
"""

EPILOG = """\
exit status:
  0  healthy      1  not healthy, or not reachable      2  wrong usage
"""


class HealthReport(msgspec.Struct, omit_defaults=True):
    """The health of a queue, as it is written."""

    ok: bool
    state: str | None = None
    reason: str | None = None
    queue: str | None = None
    pid: int | None = None
    seconds: float | None = None  # seconds until the queue answered
    events: EventCounts | None = None


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = add_command(
        subparsers, "check", run, "check the health of a running queue, for health probes", DESCRIPTION, EPILOG
    )
    add_path(parser)
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=duration, default=TIMEOUT,
        help="seconds in which the queue must answer (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--alive", action="store_true",
        help="for liveness probes: any queue that answers is healthy, also while it is starting or ending",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    report = _check(path_of(options.path), options.timeout, alive=options.alive)
    try:
        print(msgspec.json.encode(report).decode(), flush=True)
    except OSError:  # the exit status says it too
        sys.stdout = None  # else the interpreter flushes it at exit
    return int(not report.ok)


def _check(path: str, timeout: float, *, alive: bool) -> HealthReport:
    began = monotonic()
    try:
        with contextlib.closing(MonitorClient(path, timeout)) as client:
            snapshot = client.next(max(0.0, began + timeout - monotonic()))
    except Unreachable as exc:
        return HealthReport(ok=False, reason=str(exc))
    except EOFError:
        return HealthReport(ok=False, reason=f"{path}: the connection was closed without an answer")
    if snapshot is None:
        blocked = "its event loop is blocked, or the program is stopped"
        return HealthReport(ok=False, reason=f"{path}: no answer within {timeout:g} s: {blocked}")
    return judge(snapshot, monotonic() - began, alive=alive)


def judge(snapshot: Snapshot, seconds: float, *, alive: bool = False) -> HealthReport:
    """Return the health of a queue; with `alive`, any queue that answers is healthy."""
    reason = snapshot.problem if snapshot.state == "running" else f"the queue is {snapshot.state}"
    if alive:
        reason = None
    return HealthReport(
        ok=reason is None, state=snapshot.state, reason=reason, queue=snapshot.queue, pid=snapshot.pid,
        seconds=round(seconds, 6), events=snapshot.events,
    )  # fmt: skip
