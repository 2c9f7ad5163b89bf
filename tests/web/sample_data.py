"""Snapshots and details of a made-up queue, with hostile texts wherever an application decides what they are."""

from event_collector.watching.details import (
    CollectorSettings,
    DeadLetterGroup,
    DeadLetterSheet,
    Details,
    ErrorGroup,
    EventInHandler,
    EventTimeline,
    RowUse,
    SizeDecision,
    TaskSpan,
    TimeSplit,
)
from event_collector.watching.feeds import FeedCounts, FeedSnapshot
from event_collector.watching.snapshot import (
    CollectorSnapshot,
    EventCounts,
    JournalSnapshot,
    Quantiles,
    RecoveredCounts,
    Snapshot,
    WorkerSnapshot,
)
from event_collector.web.watched import Watched

HOSTILE = '"><img src=x onerror=alert(1)>'
BEGIN = 1_700_000_000.0
QUANTILES = Quantiles(0.01, 0.02, 0.03)


def snapshot(second: int = 0, *, collectors: int = 3, workers: int = 2, pid: int = 4711) -> Snapshot:
    """Return the snapshot of a second."""
    accepted = 100 * (second + 1)
    keys = [HOSTILE, *(f"collector {number}" for number in range(1, collectors))]
    return Snapshot(
        time=BEGIN + second, elapsed=1.0 if second else None, pid=pid, queue=f"queue {HOSTILE}", state="running",
        problem=HOSTILE, events=EventCounts(accepted, accepted - 10, 2, 3, 1, 4, 0), arrival_rate=100.0,
        departure_rate=99.0, load=0.5, consumers=10, target_consumers=10, workers_ready=workers, target_workers=workers,
        worker_restarts=0, workers_cpu_seconds=1.0, cpu=0.25, decisions=[],
        collectors=[CollectorSnapshot(key, "process", 50, second, 50.0, 1, None, 1.0, QUANTILES, QUANTILES)
                    for key in keys],
        workers=[WorkerSnapshot(5000 + number, "ready", 0.5, 1.0, 1 << 20, 0.1, 1, 50) for number in range(workers)],
        feeds=[FeedSnapshot(name=HOSTILE, state="lost", counts=FeedCounts(9, 1, 5, 1, 1, 0, 1, 0), held_bytes=4096,
                            remembered=6, duplicate_window=120.0, is_held_back=True, last_error=HOSTILE,
                            last_error_time=BEGIN, fetch_rate=2.0, acknowledge_rate=1.0)],
        journal=JournalSnapshot(path=f"/run/{HOSTILE}", size=8192, on_record=7, unwritten=1, lag=0.02, oldest_age=9.0,
                                trouble=HOSTILE, last_error=HOSTILE, last_error_time=BEGIN,
                                recovered=RecoveredCounts(3, 2, 1, 1, is_torn=True)),
    )  # fmt: skip


def details(second: int = 0, *, workers: int = 2) -> Details:
    """Return the details of a second."""
    now = BEGIN + second
    ended = {"event": 7, "collector": HOSTILE, "outcome": "error", "pid": 5000, "sent": now - 3,
             "handed_out": now - 2.5, "began": now - 2, "ended": now - 1, "error": HOSTILE,
             "payload": HOSTILE}  # fmt: skip
    group = {"collector": HOSTILE, "kind": "ValueError", "line": HOSTILE, "count": 3, "first": now - 9, "last": now,
             "traceback": f"Traceback\n{HOSTILE}", "payload": HOSTILE}  # fmt: skip
    return Details(
        number=second + 1, time=now, elapsed=1.0,
        spans=[TaskSpan(row % workers, 5000 + row % workers, HOSTILE, now - 0.5, now - 0.4, outcome, row, 1, 1)
               for row, outcome in enumerate(("ok", "error", "killed", "ok"))],
        rows=[RowUse(row, 5000 + row, 0.5, 2) for row in range(workers)],
        running=[EventInHandler(event=9, collector=HOSTILE, place="process", worker=0, pid=5000, age=1.0, waited=0.1,
                                limit=5.0, done=1.0, total=4.0, note=HOSTILE, payload=HOSTILE)],
        slowest=[EventTimeline(**ended)], failed=[EventTimeline(**ended)],
        errors=[ErrorGroup(event=7, **group)],
        times=[TimeSplit(collector=HOSTILE, samples=2, queued=0.2, encode=0.01, transit=0.05, handler=0.4,
                         decode=None)],
        decisions=[SizeDecision(time=now - 1, subject="workers", before="1", after="2", reason=HOSTILE, consumers=10,
                                wanted_consumers=10, workers=2, wanted_workers=2)],
        dead_letters=DeadLetterSheet(count=3, groups=[
            DeadLetterGroup(group="g", error=HOSTILE, reason="exhausted", events=[7], **group)]),
        settings=[CollectorSettings(key=HOSTILE, handler=HOSTILE, mode="process", payload_type=HOSTILE)],
        shows_payloads=True,
    )  # fmt: skip


def watched(seconds: int = 3, **counts: int) -> Watched:
    """Return a watched queue after some seconds."""
    one = Watched(1, f"/run/{HOSTILE}.sock")
    for second in range(seconds):
        one.take(snapshot(second, **counts))
        one.take_details(details(second, workers=counts.get("workers", 2)))
    return one
