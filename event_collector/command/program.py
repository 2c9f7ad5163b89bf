"""The command line as a whole: its parser, its subcommands, and how it reports what it was asked wrongly."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from event_collector.command.usage import UsageError

__all__ = ["run_command"]

PROGRAM = "event-collector"
DISTRIBUTION = "event-collector-hybrid"


def _add_run(subparsers: Any) -> None:
    from event_collector.command.run import add_parser

    add_parser(subparsers)


def _add_bench(subparsers: Any) -> None:
    from event_collector.command.bench import add_parser

    add_parser(subparsers)


def _add_journal(subparsers: Any) -> None:
    from event_collector.command.journal_command import add_parser

    add_parser(subparsers)


def _add_top(subparsers: Any) -> None:
    from event_collector.command.top import add_parser

    add_parser(subparsers)


def _add_check(subparsers: Any) -> None:
    from event_collector.command.check import add_parser

    add_parser(subparsers)


COMMANDS: dict[str, Callable[[Any], None]] = {
    "run": _add_run,
    "bench": _add_bench,
    "journal": _add_journal,
    "top": _add_top,
    "check": _add_check,
}
"""Adds the parser of a subcommand. Its default `run` is called with the options and returns the exit status.

Only the module of the subcommand that was named is imported: health probes run a command every few seconds."""

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
    given = sys.argv[1:] if arguments is None else arguments
    options = _make_parser(given).parse_args(given)
    try:
        status: int = options.run(options)
    except UsageError as exc:
        print(f"{PROGRAM} {options.command}: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the subcommand took care of signals itself
        return INTERRUPTED
    return status


def _make_parser(arguments: Sequence[str]) -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Process events with coroutines and worker processes.",
        epilog=f"'{PROGRAM} COMMAND --help' tells all about a command.",
    )
    parser.add_argument("--version", action=_ShowVersion)
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for command in [named] if named in COMMANDS else COMMANDS:
        COMMANDS[command](subparsers)
    return parser


class _ShowVersion(argparse.Action):
    """Prints the version, which takes a while to find out, and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, help="show program's version number and exit"
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Do so."""
        print(f"{PROGRAM} {_version()}")
        parser.exit()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a source tree that was not installed
        return "(not installed)"
