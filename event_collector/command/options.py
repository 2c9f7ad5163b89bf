"""Command-line options: value types, options that subcommands share, and the error for wrong usage."""

import argparse
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a health probe does not import asyncio
    import asyncio
    from collections.abc import Callable

PROGRESS_INTERVAL = 5.0


class UsageError(Exception):
    """The command was used wrongly: reported in one line, exit status 2."""


def add_command(
    subparsers: "argparse._SubParsersAction[Any]", name: str, run: "Callable[[argparse.Namespace], int]",
    summary: str, description: str, epilog: str,
) -> Any:  # fmt: skip
    """Add the parser of a subcommand that `run` executes, and return it. Its texts keep their line breaks."""
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        name, help=summary, description=description, epilog=epilog, formatter_class=keep_lines
    )
    parser.set_defaults(run=run)
    return parser


def add_loop(group: Any) -> None:
    """Add `--loop`."""
    group.add_argument(
        "--loop", choices=("auto", "asyncio", "uvloop"), default="auto",
        help="the event loop; auto, the default: uvloop if it is installed",
    )  # fmt: skip


def add_progress_interval(group: Any) -> None:
    """Add `--progress-interval`."""
    group.add_argument(
        "--progress-interval", metavar="SECONDS", type=duration, default=PROGRESS_INTERVAL,
        help="seconds between progress lines when no bar is shown (default: %(default)g)",
    )  # fmt: skip


def count(text: str) -> int:
    """Return an integer of at least 1."""
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number of at least 1, not {text!r}")
    return number


def duration(text: str) -> float:
    """Return a finite number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"takes a number of seconds above 0, not {text!r}")
    return seconds


def loop_factory(name: str) -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """Return the factory of the event loop that `--loop` selects; None for the default loop of asyncio."""
    if name == "asyncio":
        return None
    from event_collector.life.loop_thread import fast_loop

    factory = fast_loop()
    if factory is None and name == "uvloop":
        raise UsageError("--loop uvloop: uvloop is not installed")
    return factory
