"""`event-collector check`: whether a queue is well, for health probes."""

import argparse
import contextlib
from time import monotonic
from typing import Any, Final

import msgspec

from event_collector.command.monitor_client import MonitorClient, Unreachable, add_path, path_of
from event_collector.command.usage import duration
from event_collector.watching.snapshot import EventCounts, Snapshot

__all__ = ["add_parser"]

TIMEOUT: Final = 1.0
"""Seconds, as those of a Kubernetes probe unless it says otherwise."""

DESCRIPTION = """\
Ask a running queue how it is: one line of JSON, and an exit status for health probes. The queue has been made with
monitor=PATH, or run with `event-collector run --monitor PATH`.

It is well if it takes events and its event loop answers in time. A queue that is starting or ending is not, unless
--alive asks for less; nor is one whose worker processes die again and again.
"""

EPILOG = """\
exit status:
  0  it is well      1  it is not, or it cannot be reached      2  the command was asked for something that cannot work
"""


class Verdict(msgspec.Struct, omit_defaults=True):
    """What is written."""

    ok: bool
    state: str | None = None
    reason: str | None = None
    queue: str | None = None
    pid: int | None = None
    seconds: float | None = None
    """From the question to the answer."""
    events: EventCounts | None = None


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="ask a running queue how it is, for health probes",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_path(parser)
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=duration, default=TIMEOUT,
        help="how long it may take to answer (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--alive", action="store_true",
        help="for liveness probes: it is well if it answers, also while it is starting or ending",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status.

    Raises:
        UsageError: no socket was named.

    """
    verdict = _ask(path_of(options.path), options.timeout, alive=options.alive)
    with contextlib.suppress(BrokenPipeError):
        print(msgspec.json.encode(verdict).decode(), flush=True)
    return int(not verdict.ok)


def _ask(path: str, timeout: float, *, alive: bool) -> Verdict:
    began = monotonic()
    try:
        with contextlib.closing(MonitorClient(path, timeout)) as client:
            snapshot = client.next(max(0.0, began + timeout - monotonic()))
    except Unreachable as exc:
        return Verdict(ok=False, reason=str(exc))
    except EOFError:
        return Verdict(ok=False, reason=f"{path}: the connection was closed without an answer")
    if snapshot is None:
        return Verdict(
            ok=False,
            reason=f"{path}: no answer within {timeout:g} s: its event loop is blocked, or the program is stopped",
        )
    return judge(snapshot, monotonic() - began, alive=alive)


def judge(snapshot: Snapshot, seconds: float, *, alive: bool = False) -> Verdict:
    """Return whether a queue is well; `alive`: whether it is at least there."""
    reason = None
    if not alive and snapshot.state != "running":
        reason = f"the queue is {snapshot.state}"
    elif not alive:
        reason = snapshot.problem
    return Verdict(
        ok=reason is None,
        state=snapshot.state,
        reason=reason,
        queue=snapshot.queue,
        pid=snapshot.pid,
        seconds=round(seconds, 6),
        events=snapshot.events,
    )
