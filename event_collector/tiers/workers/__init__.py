"""Handlers in the queue's worker processes."""
