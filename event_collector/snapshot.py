"""Snapshots of a queue, as `queue.snapshot()` returns them and a monitor socket sends them, and the details beside."""

from event_collector.watching.details import (
    CollectorSettings,
    DeadLetterGroup,
    DeadLetterSheet,
    Details,
    ErrorGroup,
    EventInHandler,
    EventTimeline,
    MachineUse,
    QueueState,
    RowUse,
    SizeDecision,
    TaskSpan,
    TimeSplit,
    decode_details,
)
from event_collector.watching.problems import Problem, find_problems
from event_collector.watching.snapshot import (
    CollectorSnapshot,
    Decision,
    EventCounts,
    Quantiles,
    Snapshot,
    WorkerSnapshot,
    decode_snapshot,
)

__all__ = [
    "CollectorSettings",
    "CollectorSnapshot",
    "DeadLetterGroup",
    "DeadLetterSheet",
    "Decision",
    "Details",
    "ErrorGroup",
    "EventCounts",
    "EventInHandler",
    "EventTimeline",
    "MachineUse",
    "Problem",
    "Quantiles",
    "QueueState",
    "RowUse",
    "SizeDecision",
    "Snapshot",
    "TaskSpan",
    "TimeSplit",
    "WorkerSnapshot",
    "decode_details",
    "decode_snapshot",
    "find_problems",
]
