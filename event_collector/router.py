"""Routers: which collectors a payload reaches."""

from event_collector.handlers.router import CollectorSet, Router, SimpleRouter, TopicHandlerDict

__all__ = ["CollectorSet", "Router", "SimpleRouter", "TopicHandlerDict"]
