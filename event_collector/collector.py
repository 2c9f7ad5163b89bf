"""Collectors: handlers with a key, and the decorator that makes a Collector of a function."""

import sys
from types import ModuleType

from event_collector.handlers.collector import Collector, CollectorDict, CollectorList, Processor
from event_collector.handlers.decorator import collector
from event_collector.handlers.lifecycle import LifecycleManager

__all__ = ["Collector", "CollectorDict", "CollectorList", "LifecycleManager", "Processor", "collector"]


class _CallableModule(ModuleType):
    """Makes this module callable like the decorator: `from event_collector import collector` returns the module."""

    __call__ = staticmethod(collector)


sys.modules[__name__].__class__ = _CallableModule
