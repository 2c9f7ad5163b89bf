"""The entry point of the event-collector command."""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Args:
        arguments: arguments of the command; None for those of this process.

    Raises:
        SystemExit: after --help and --version (status 0), and for invalid arguments (status 2).
    """
    # Worker processes import this module too, as the main module of the program, and need no other.
    from event_collector.command.program import run_command

    return run_command(arguments)
