"""What is wrong with a queue now, in words: a function of what it tells, for the viewer's process."""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from event_collector.watching.details import HERE, Details
from event_collector.watching.snapshot import Snapshot

SILENCE: Final = 3.0
"""Seconds without a line, of which there is one each second, after which the loop counts as blocked."""
LAG: Final = 0.1
"""Seconds of waiting for a turn of the event loop that deserve attention."""
BUSY: Final = 0.9
"""Share of a resource in use that deserves attention."""
NEAR: Final = 0.8
"""Share of its time limit that a handler may have used before it deserves attention."""
FAILING: Final = 0.5
"""Share of the attempts of a collector that fail, from which on it deserves attention."""

Severity = Literal["error", "warning"]


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, or soon will be."""

    severity: Severity
    """error: events fail, wait or may be lost because of it. warning: it deserves attention."""
    subject: str
    """queue, loop, workers, journal, machine, the name of a feed, or the key of a collector."""
    text: str
    """What is wrong, with figures."""
    remedy: str = ""
    """What to do, where something general can be said."""


def find_problems(snapshot: Snapshot, details: Details | None = None, *, silence: float = 0.0) -> list[Problem]:
    """Return the problems of a queue, errors first. `silence`: seconds since the last snapshot came."""
    found = [*_of_loop(snapshot, details, silence), *_of_workers(snapshot), *_of_collectors(snapshot)]
    found += _of_brokers_and_disk(snapshot)
    if details is not None:
        found += [*_of_queue(snapshot, details), *_of_handlers(snapshot, details), *_of_machine(snapshot, details)]
    if snapshot.events.dead:
        found.append(
            Problem("warning", "queue", f"{snapshot.events.dead:,} events are dead letters", "replay or drop them")
        )
    return sorted(found, key=lambda problem: problem.severity != "error")


def _of_loop(snapshot: Snapshot, details: Details | None, silence: float) -> Iterator[Problem]:
    if silence > SILENCE:
        yield Problem(
            "error",
            "loop",
            f"the program has not answered for {silence:.0f} s: its event loop is blocked, or the process is stopped",
            "event-collector stack shows where it is",
        )
    if details is None:
        return
    state = details.queue
    if state.lag > LAG:
        yield Problem("warning", "loop", f"callbacks wait {state.lag:.2f} s for their turn of the event loop")
    if state.loop_busy is not None and state.loop_busy > BUSY:
        yield Problem(
            "warning",
            "loop",
            f"the event loop is busy {state.loop_busy:.0%} of the time: it limits the queue",
            "move handlers that compute to worker processes, with mode='process'",
        )
    for key in state.blocked_by:
        yield Problem("warning", key, "its handler has blocked the event loop", "the log has its stack")


def _of_workers(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.problem is not None:
        yield Problem("error", "workers", snapshot.problem, "the log has the tracebacks of workers")
    elif snapshot.worker_failure:
        yield Problem("warning", "workers", f"the last that ended unexpectedly: {snapshot.worker_failure}")
    if snapshot.state == "running" and snapshot.target_workers and not snapshot.workers_ready:
        yield Problem("error", "workers", f"none is ready of {snapshot.target_workers} that are wanted")


def _of_collectors(snapshot: Snapshot) -> Iterator[Problem]:
    for one in snapshot.collectors:
        if one.errors and one.events >= 10 and one.errors >= FAILING * one.events:
            yield Problem("warning", one.key, f"{one.errors:,} of {one.events:,} attempts have failed")


def _of_brokers_and_disk(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.journal is not None and snapshot.journal.trouble is not None:
        text = f"it cannot be written: {snapshot.journal.trouble}"
        yield Problem("error", "journal", text, "events wait until it can be again")
    for feed in snapshot.feeds:
        if not feed.is_healthy:
            what = "gives no messages" if feed.state == "lost" else "does not settle messages"
            yield Problem("error", feed.name, f"the source {what}: {feed.last_error}", "it is asked again")


def _of_queue(snapshot: Snapshot, details: Details) -> Iterator[Problem]:
    state, waiting = details.queue, snapshot.events.queued + snapshot.events.scheduled
    if state.max_queue_size and waiting >= state.max_queue_size:
        senders = f", and {state.senders_waiting:,} senders wait for room" if state.senders_waiting else ""
        policy = "" if state.overflow == "wait" else f"; more are dropped ({state.overflow})"
        yield Problem("warning", "queue", f"it is full: {waiting:,} events wait{senders}{policy}")
    if snapshot.events.dropped:
        yield Problem("warning", "queue", f"{snapshot.events.dropped:,} events were dropped since the start")
    if details.dead_letters.lost:
        yield Problem(
            "error",
            "queue",
            f"{details.dead_letters.lost:,} dead letters were replaced by newer ones",
            "raise max_dead_letters, or replay letters in time",
        )


def _of_handlers(snapshot: Snapshot, details: Details) -> Iterator[Problem]:
    names = {one.pid: snapshot.worker_name(one) for one in snapshot.workers}
    for one in details.running:
        if one.limit is not None and one.age > NEAR * one.limit:
            place = "" if one.worker == HERE else f" in {names.get(one.pid, f'worker {one.worker}')} (pid {one.pid})"
            over = "is over" if one.age > one.limit else "is near"
            yield Problem(
                "error" if one.age > one.limit else "warning",
                one.collector or "queue",
                f"event {one.event} has been in its handler for {one.age:.1f} s{place}: it {over} the limit of "
                f"{one.limit:g} s",
            )


def _of_machine(snapshot: Snapshot, details: Details) -> Iterator[Problem]:
    machine = details.machine
    used = (snapshot.cpu or 0.0) + sum(worker.cpu or 0.0 for worker in snapshot.workers)
    if machine.cpus is not None and used > BUSY * machine.cpus:
        yield Problem("warning", "machine", f"{used:.1f} of {machine.cpus:g} granted CPUs are in use")
    if machine.cpus is not None and (machine.cpus_of_others or 0.0) > 0.5 * machine.cpus:
        yield Problem(
            "warning", "machine", f"other programs use {machine.cpus_of_others:.1f} of {machine.cpus:g} granted CPUs"
        )
    if machine.memory and machine.memory_used is not None and machine.memory_used > BUSY * machine.memory:
        yield Problem(
            "error",
            "machine",
            f"{machine.memory_used / 2**20:,.0f} of {machine.memory / 2**20:,.0f} MiB of memory are in use",
            "the system kills processes when none is left; lower max_workers, or limit workers with max_worker_memory",
        )
