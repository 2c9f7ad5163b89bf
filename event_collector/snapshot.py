"""Snapshots of a queue, as `queue.snapshot()` returns them and a monitor socket sends them."""

from event_collector.watching.snapshot import (
    CollectorSnapshot,
    Decision,
    EventCounts,
    Quantiles,
    Snapshot,
    WorkerSnapshot,
    decode_snapshot,
)

__all__ = ["CollectorSnapshot", "Decision", "EventCounts", "Quantiles", "Snapshot", "WorkerSnapshot", "decode_snapshot"]
