"""The command line as a whole: parser, subcommands, and the report of wrong usage."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from event_collector.command.options import UsageError
from event_collector.command.standard_streams import prepare_standard_streams, require_stdout

PROGRAM = "event-collector"
DISTRIBUTION = "event-collector-hybrid"
COMMANDS = ("run", "bench", "journal", "top", "web", "stack", "ctl", "check")
INTERRUPTED = 130


def _add_command(name: str, subparsers: Any) -> None:
    """Add the parser of a subcommand. Its default `run` takes the options and returns the exit status.

    Only the module of the subcommand is imported: health probes run `check` every few seconds.
    """
    match name:
        case "run":
            from event_collector.command.run import add_parser
        case "bench":
            from event_collector.command.bench import add_parser
        case "journal":
            from event_collector.command.journal_command import add_parser
        case "top":
            from event_collector.command.top import add_parser
        case "web":
            from event_collector.command.web_server import add_parser
        case "stack":
            from event_collector.command.stack import add_parser
        case "ctl":
            from event_collector.command.ctl import add_parser
        case _:
            from event_collector.command.check import add_parser
    add_parser(subparsers)


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose last operand may follow options."""

    last_operand: str | None = None  # the name of an optional operand

    def take_last_operand(self, name: str) -> None:
        """Take an operand that is optional also after options."""
        self.last_operand = name

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (try {self.prog} --help)\n")

    def parse_known_args(  # type: ignore[override]  # one signature for the overloads of argparse
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does, except that argparse takes an operand as missing once it has met an option."""
        options, rest = super().parse_known_args(args, namespace)
        if self.last_operand is None or not rest:
            return options, rest
        if len(rest) > 1 or rest[0][:1] == "-" != rest[0] or getattr(options, self.last_operand) is not None:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        setattr(options, self.last_operand, rest[0])
        return options, []


def run_command(arguments: Sequence[str] | None) -> int:
    """Parse the arguments, run the subcommand, and return the exit status."""
    prepare_standard_streams()
    words = sys.argv[1:] if arguments is None else arguments
    options = _make_parser(words).parse_args(words)
    try:
        if options.command != "check":  # its exit status is its answer
            require_stdout()
        status: int = options.run(options)
    except UsageError as exc:
        print(f"{PROGRAM} {options.command}: {exc}", file=sys.stderr)
        return 2
    except OSError as exc:  # such as a full disk; subcommands handle a reader that has closed the pipe
        print(f"{PROGRAM} {options.command}: cannot go on: {exc}", file=sys.stderr)
        sys.stdout = None  # else the interpreter flushes it at exit
        return 1
    except KeyboardInterrupt:  # before the subcommand installed its own signal handlers
        return INTERRUPTED
    return status


def _make_parser(arguments: Sequence[str]) -> CommandParser:
    parser = CommandParser(
        prog=PROGRAM,
        description="Process events with coroutines and worker processes.",
        epilog=f"'{PROGRAM} COMMAND --help' describes a command and its options.",
    )
    parser.add_argument("--version", action=_ShowVersion)
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    selected = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name in [selected] if selected in COMMANDS else COMMANDS:
        _add_command(name, subparsers)
    return parser


class _ShowVersion(argparse._VersionAction):
    """Prints the version and exits. The version is looked up only then, because the look-up is slow."""

    def __call__(self, *arguments: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            self.version = f"{PROGRAM} {version(DISTRIBUTION)}"
        except PackageNotFoundError:  # a source tree that was not installed
            self.version = f"{PROGRAM} (not installed)"
        super().__call__(*arguments)
