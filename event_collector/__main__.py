"""`python -m event_collector`: the event-collector command."""

import sys

from event_collector.cli import main

if __name__ == "__main__":
    sys.exit(main())
