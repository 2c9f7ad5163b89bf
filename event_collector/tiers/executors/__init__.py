"""Handlers in executors that belong to the application."""
