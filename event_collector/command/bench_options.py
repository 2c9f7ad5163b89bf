"""The options of `event-collector bench`, and its help."""

import argparse
from typing import Any

from event_collector.command.usage import count, duration

__all__ = ["add_options"]

SECONDS = 20.0
PROGRESS_INTERVAL = 5.0

DESCRIPTION = """\
Run a handler in each mode it can run in, side by side, and say which one to use: mode, worker processes, events at
once, and the lines of code. Each mode has a process of its own; the modes take turns until the figures are sure or
the time is over.

MODULE:OBJECT is a handler, a Collector, or a function without parameters that returns one, as for `run`. It is run
on real payloads, many times: side effects happen. A plain handler is also measured as it would be if it were written
as `async def`.
"""

EPILOG = """\
columns:
  events/s      median of the rounds, with the 95 percent interval of a bootstrap
  at once       events in flight: the least number with which the throughput is nearly the greatest
  p50, p99      time from sending an event to its result, with so many at once
  CPU/event     CPU time of the program and, beside it, of its worker processes
  memory        what the program and its worker processes have for themselves alone
  bound by      CPU, IO (what the handler waits for), the loop (handing out events), serialization

exit status:
  0  there is a recommendation    2    the command was asked for something that cannot work
  1  there is none                130  ended by Ctrl-C

examples:
  event-collector bench handlers:handle --input events.ndjson
  event-collector bench src/parse.py:parse --payload '{"n": 7}' --workers 1,2,4,8 --html report.html
"""


def add_options(subparsers: "argparse._SubParsersAction[Any]") -> Any:
    """Add the parser of the subcommand and return it."""
    parser: Any = subparsers.add_parser(
        "bench",
        help="find out which mode and how many workers suit a handler",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="MODULE:OBJECT", help="the handler")
    _add_payloads(
        parser.add_argument_group("payloads (one of these)").add_mutually_exclusive_group(required=True)
    )
    _add_measuring(parser.add_argument_group("what is measured"))
    _add_output(parser.add_argument_group("output"))
    return parser


def _add_payloads(group: Any) -> None:
    group.add_argument(
        "--input", metavar="FILE",
        help="newline-delimited JSON, each line a payload; its first 10,000 lines are used, again and again; '-' is "
        "standard input",
    )  # fmt: skip
    group.add_argument(
        "--payload", metavar="JSON", action="append", help="a payload; given several times, each in turn"
    )


def _add_measuring(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--seconds", metavar="N", type=duration, default=SECONDS,
        help="how long it may take, about (default: %(default)g); it ends sooner when the figures are sure",
    )  # fmt: skip
    group.add_argument(
        "--mode", dest="modes", action="append", choices=("coroutine", "thread", "process"),
        help="only this mode; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "--workers", metavar="N,N", type=counts,
        help="numbers of worker processes (default: 1, a quarter of the CPUs granted, all of them; more where the "
        "handler waits)",
    )  # fmt: skip
    group.add_argument(
        "--count", metavar="N", type=count, help="events of each round (default: as many as take a while)"
    )
    group.add_argument(
        "--loop", choices=("auto", "asyncio", "uvloop"), default="auto",
        help="the event loop; auto, the default: uvloop if it is installed",
    )  # fmt: skip


def _add_output(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--json", action="store_true", help="print everything that was found as JSON, no table"
    )
    group.add_argument(
        "--html", metavar="FILE", help="also write a page of HTML that needs nothing beside it"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="no progress")
    group.add_argument(
        "--progress-interval", metavar="SECONDS", type=duration, default=PROGRESS_INTERVAL,
        help="between two lines of progress, where there is no terminal for a bar (default: %(default)g)",
    )  # fmt: skip


def counts(text: str) -> list[int]:
    """Return whole numbers of at least 1, in ascending order, without repetition."""
    return sorted({count(part.strip()) for part in text.split(",")})
