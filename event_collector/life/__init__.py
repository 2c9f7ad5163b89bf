"""Start and end of a queue: settings, order, logging, signals."""
