"""Routers: they select the collectors of a payload."""

from event_collector.handlers.router import CollectorSet, Router, SimpleRouter, TopicHandlerDict

__all__ = ["CollectorSet", "Router", "SimpleRouter", "TopicHandlerDict"]
