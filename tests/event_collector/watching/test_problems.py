"""Problems in words: each is found in what a queue tells, and a queue that is well has none."""

from typing import Any

import pytest
from msgspec.structs import replace

from event_collector import CollectorQueue
from event_collector.watching.details import Details, EventInHandler, MachineUse, QueueState
from event_collector.watching.feeds import FeedCounts, FeedSnapshot
from event_collector.watching.problems import find_problems
from event_collector.watching.snapshot import EventCounts, JournalSnapshot, Snapshot

WELL = replace(CollectorQueue([], logging=False).snapshot(), state="running")
MANY = EventCounts(accepted=10, finished=0, in_handlers=0, queued=10, scheduled=0, dead=0, dropped=3)
SLOW = EventInHandler(event=7, collector="resize", place="process", worker=1, pid=42, age=12.0, waited=0.1, limit=10.0)

FULL = JournalSnapshot(path="j", size=4096, on_record=1, unwritten=1, lag=2.0, trouble="disk full")
LOST = FeedSnapshot(
    name="orders", state="lost", counts=FeedCounts(), held_bytes=0, remembered=0, duplicate_window=1.0,
    is_held_back=False, last_error="no broker",
)  # fmt: skip


def details_of(**queue: Any) -> Details:
    return Details(queue=QueueState(**queue))


def test_a_queue_that_is_well_has_no_problems() -> None:
    """Without details and with them."""
    assert find_problems(WELL) == []
    assert find_problems(WELL, Details()) == []


@pytest.mark.parametrize(
    ("snapshot", "details", "severity", "subject", "words"),
    [
        (replace(WELL, problem="workers die again and again"), None, "error", "workers", "again and again"),
        (replace(WELL, target_workers=2), None, "error", "workers", "none is ready of 2"),
        (replace(WELL, worker_failure="exited with code 3"), None, "warning", "workers", "exited with code 3"),
        (replace(WELL, events=MANY), details_of(max_queue_size=10), "warning", "queue", "full: 10 events wait"),
        (WELL, details_of(lag=0.5), "warning", "loop", "wait 0.50 s"),
        (WELL, details_of(loop_busy=0.99), "warning", "loop", "busy 99%"),
        (WELL, details_of(blocked_by=["resize"]), "warning", "resize", "blocked the event loop"),
        (replace(WELL, journal=FULL), None, "error", "journal", "disk full"),
        (replace(WELL, feeds=[LOST]), None, "error", "orders", "gives no messages: no broker"),
        (replace(WELL, feeds=[replace(LOST, state="failing")]), None, "error", "orders", "does not settle messages"),
        (WELL, Details(running=[SLOW]), "error", "resize", "event 7 has been in its handler for 12.0 s in worker 1"),
        (WELL, Details(machine=MachineUse(memory=2.0**30, memory_used=2.0**30)), "error", "machine", "1,024 MiB"),
        (WELL, Details(machine=MachineUse(cpus=2.0, cpus_of_others=1.5)), "warning", "machine", "use 1.5 of 2"),
    ],
)
def test_a_problem_is_told(
    snapshot: Snapshot, details: Details | None, severity: str, subject: str, words: str
) -> None:
    """With its severity, its subject and figures."""
    found = [one for one in find_problems(snapshot, details) if one.subject == subject]
    assert [one.severity for one in found][:1] == [severity]
    assert words in found[0].text


def test_a_silent_program_is_the_first_problem() -> None:
    """A viewer that hears nothing says that the loop is blocked, before it warns of anything else."""
    assert find_problems(WELL, silence=1.5) == []
    found = find_problems(replace(WELL, worker_failure="killed"), silence=8.0)
    assert [one.subject for one in found] == ["loop", "workers"]
    assert "has not answered for 8 s" in found[0].text
