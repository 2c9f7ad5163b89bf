"""The process that measures one contender of `event-collector bench`: an assignment in, then a round for each order."""

import sys


def main() -> int:
    """Answer on standard output what comes in on standard input, one line of JSON for each, until it ends."""
    # Worker processes import this module too, as that of the program's main script, and need nothing of the rest.
    from event_collector.command.bench_answers import answer_all

    return answer_all()


if __name__ == "__main__":
    sys.exit(main())
