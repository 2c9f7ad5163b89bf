"""The base class of all errors, in a module that imports nothing, so that handlers can use it at no cost."""


class EventCollectorException(Exception):
    """The base of all errors of event_collector."""
