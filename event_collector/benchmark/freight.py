"""The freight: what the values of an event weigh, and what it costs to encode and decode them."""

from collections.abc import Sequence
from statistics import median
from time import perf_counter
from typing import Any

from event_collector.benchmark.figures import Freight
from event_collector.handlers.collector import Collector
from event_collector.remote.codec import PayloadDecoder, ReplyDecoder, encode_payload, encode_result
from event_collector.values.payload import Payload
from event_collector.values.results import Error, Result

__all__ = ["weigh"]


def weigh(collector: Collector, pairs: Sequence[tuple[Any, Result[Any]]]) -> Freight | None:
    """Return the medians over some values and their results; None when there is none that succeeded."""
    decode_payload = PayloadDecoder(collector.payload_type, collector.key)
    decode_reply = ReplyDecoder(collector.result_type, collector.key)
    seconds, sizes = [], []
    for value, result in pairs:
        if isinstance(result, Error):
            continue
        begun = perf_counter()
        there = encode_payload(Payload(value), collector.key)
        decode_payload(*there)
        back = encode_result(result.value, collector.key)
        decode_reply(*back)
        seconds.append(perf_counter() - begun)
        sizes.append(sum(len(part) for part in (*there, *back) if part is not None))
    return Freight(median(seconds), round(median(sizes))) if seconds else None
