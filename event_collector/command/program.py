"""The command line as a whole: its parser, its subcommands, and how it reports what it was asked wrongly."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from event_collector.command import bench, check, journal, run, top
from event_collector.command.usage import UsageError

__all__ = ["run_command"]

PROGRAM = "event-collector"
DISTRIBUTION = "event-collector-hybrid"
COMMANDS = (run, bench, journal, top, check)
"""A module for each subcommand, with `add_parser(subparsers)`; the parser's default `run` is called with the options
and returns the exit status."""

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose last operand may follow options."""

    last_operand: str | None = None
    """The name of an operand that may be left out, and is None then."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (try {self.prog} --help)\n")

    def parse_known_args(  # type: ignore[override]  # one signature for the overloads of argparse
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does, which takes an operand for left out once it has met an option."""
        options, rest = super().parse_known_args(args, namespace)
        if self.last_operand is None or not rest:
            return options, rest
        if len(rest) > 1 or rest[0][:1] == "-" != rest[0] or getattr(options, self.last_operand) is not None:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        setattr(options, self.last_operand, rest[0])
        return options, []


def run_command(arguments: Sequence[str] | None) -> int:
    """Parse the arguments, run the subcommand they name, and return the exit status."""
    options = _make_parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except UsageError as exc:
        print(f"{PROGRAM} {options.command}: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the subcommand took care of signals itself
        return INTERRUPTED
    return status


def _make_parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Process events with coroutines and worker processes.",
        epilog=f"'{PROGRAM} COMMAND --help' tells all about a command.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {_version()}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a source tree that was not installed
        return "(not installed)"
