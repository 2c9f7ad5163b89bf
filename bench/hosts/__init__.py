"""Many hosts on one broker, simulated; and the small end of it, measured."""
