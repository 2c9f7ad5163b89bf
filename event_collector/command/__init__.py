"""The parts of the event-collector command. Programs import the library, not this."""
