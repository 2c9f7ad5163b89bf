"""Handlers: their signature, their collector, the routing of payloads to them, and the retry of failed attempts."""
