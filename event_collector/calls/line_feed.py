"""Lines of JSON that go to worker processes as they were read, many in one job."""

from typing import TYPE_CHECKING, Any

from event_collector.dispatch.chunk_feed import ChunkFeed, Sink
from event_collector.handlers.collector import PROCESS, Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from event_collector.dispatch.chunks import Chunks
    from event_collector.values.payload import Payload


def feed_lines(
    chunks: "Chunks | None",
    collectors: "Iterable[Collector]",
    sink: Sink,
    read_line: "Callable[[int, bytes], Payload[Any]]",
) -> ChunkFeed | None:
    """Return a feed of lines for the only collector; None if each line has to be an event.

    That is so in a bounded queue, where each event waits for a place, in one with a journal, priorities or a router of
    its own, and if the collector has a retry policy, runs elsewhere than in worker processes, or gets values that are
    not decoded into the type of its handler.
    """
    all_collectors = list(collectors)
    if chunks is None or chunks.is_bounded or len(all_collectors) > 1:
        return None
    (collector,) = all_collectors
    is_decoded = collector.payload_type == collector.required_type()
    if collector.mode != PROCESS or collector.retry is not None or not is_decoded or not chunks.is_open(collector):
        return None
    return ChunkFeed(chunks, collector, None, None, sink, read_line)
