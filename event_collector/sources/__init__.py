"""Messages of brokers as events: delivered at least once, to any number of programs on any number of machines.

The client of a broker is an extra, imported when its source is created.
"""

from event_collector.sources.feed import Feed
from event_collector.sources.jetstream import JetStreamSource
from event_collector.sources.ledger import Finished
from event_collector.sources.redis_stream import RedisStreamSource
from event_collector.sources.source import Message, Source
from event_collector.sources.url import open_url
from event_collector.watching.feeds import FeedCounts

__all__ = ["Feed", "FeedCounts", "Finished", "JetStreamSource", "Message", "RedisStreamSource", "Source", "open_url"]
