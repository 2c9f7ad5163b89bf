"""The journal: accepted events in a file, so that they survive the program."""
