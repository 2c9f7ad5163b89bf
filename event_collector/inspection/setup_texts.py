"""The settings of collectors, in words."""

from event_collector.handlers.collector import Collector
from event_collector.handlers.signature import type_name
from event_collector.watching.details import CollectorSettings


def settings_of(collector: Collector) -> CollectorSettings:
    """Return how a collector is set up."""
    handler, batch, retry = collector.handler, collector.batch, collector.retry
    attempts = ""
    if retry is not None:
        attempts = f"{retry.max_attempts} attempts, {retry.backoff:g} to {retry.max_backoff:g} s apart"
    kind = type(handler)
    module = getattr(handler, "__module__", None) or kind.__module__
    name = getattr(handler, "__qualname__", None) or kind.__qualname__
    return CollectorSettings(
        key=collector.key,
        handler=f"{module}:{name}",
        mode=collector.mode,
        timeout=collector.timeout,
        heartbeat=collector.heartbeat,
        retry=attempts,
        batch="" if batch is None else f"up to {batch.max_size} events, {batch.max_wait:g} s",
        topics=list(collector.topics or ()),
        payload_type=type_name(collector.payload_type),
        result_type=type_name(collector.result_type),
        on_error=collector.on_error,
    )
