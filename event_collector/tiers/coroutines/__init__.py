"""Handlers that are coroutines of the event loop."""
