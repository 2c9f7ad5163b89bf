"""Messages of brokers as events: delivered at least once, to any number of programs on any number of machines.

The names below are loaded when they are first used: a broker's client is an extra, and is imported for its source only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_collector.sources.feed import Feed
    from event_collector.sources.jetstream import JetStreamSource
    from event_collector.sources.ledger import FeedCounts, Finished
    from event_collector.sources.redis_stream import RedisStreamSource
    from event_collector.sources.source import Message, Source
    from event_collector.sources.url import open_url

_HOME_OF = {
    "Feed": "feed",
    "FeedCounts": "ledger",
    "Finished": "ledger",
    "JetStreamSource": "jetstream",
    "Message": "source",
    "RedisStreamSource": "redis_stream",
    "Source": "source",
    "open_url": "url",
}

__all__ = [
    "Feed",
    "FeedCounts",
    "Finished",
    "JetStreamSource",
    "Message",
    "RedisStreamSource",
    "Source",
    "open_url",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
