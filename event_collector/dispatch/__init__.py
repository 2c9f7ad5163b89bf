"""The way of an event from acceptance to its results."""
