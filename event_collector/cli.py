"""The entry point of the event-collector command."""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Args:
        arguments: what follows the command's name; None for those of this process.

    Raises:
        SystemExit: after --help and --version (0), and for arguments that make no sense (2).

    """
    # Worker processes import this module too, as that of the program's main script, and need nothing of the rest.
    from event_collector.command.program import run_command

    return run_command(arguments)
