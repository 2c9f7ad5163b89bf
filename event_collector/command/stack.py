"""`event-collector stack`: where a running program and its worker processes are."""

import argparse
import contextlib
import sys
from typing import Any, Final

import msgspec

from event_collector.command.monitor_client import MonitorClient, add_path, path_of
from event_collector.command.options import add_command
from event_collector.watching.socket_lines import Unreachable
from event_collector.watching.stack_socket import SUFFIX, ProcessStack, decode_stacks
from event_collector.watching.tables import printable

TIMEOUT: Final = 30.0
"""Seconds that the program may take. A worker that is stopped takes half a second of it."""

DESCRIPTION = """\
Show the Python stacks of a running program: the thread of its event loop, its other threads, and its worker processes.
The queue was made with monitor=PATH, or run with `event-collector run --monitor PATH`.

It works while a handler blocks the event loop, and while workers are in native code.
"""

EPILOG = """\
examples:
  event-collector stack /run/app/queue.sock
  event-collector stack /run/app/queue.sock 4711
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = add_command(subparsers, "stack", run, "show where a running program is", DESCRIPTION, EPILOG)
    add_path(parser)
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="only this process (default: all)")


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    path = path_of(options.path)
    request = f"{'' if options.pid is None else options.pid}\n".encode()
    try:
        with contextlib.closing(MonitorClient(path + SUFFIX, TIMEOUT)) as client:
            stacks = decode_stacks(client.ask(request, TIMEOUT))
    except (Unreachable, msgspec.DecodeError) as exc:
        _say(str(exc))
        return 1
    if not stacks:
        _say(f"the program has no worker process with the pid {options.pid}")
        return 1
    print("\n\n".join(map(_shown, stacks)))
    return 0


def _say(text: str) -> None:
    print(f"event-collector stack: {text}", file=sys.stderr)


def _shown(stack: ProcessStack) -> str:
    text = "\n".join(map(printable, stack.text.splitlines())) or "  (no handler, or no answer)"
    return f"pid {stack.pid}, {printable(stack.subject)}\n{text}"
