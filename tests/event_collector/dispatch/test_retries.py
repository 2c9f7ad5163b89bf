"""Retries: what follows an attempt, and the place of events that wait for another one. Time is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    DeadlineExceeded,
    Error,
    Ok,
    QueueShutDown,
    Reject,
    ResultList,
    Retry,
)
from event_collector.dispatch.retries import Retries
from event_collector.handlers.attempt import Attempt
from tests.event_collector.dispatch.parts import Parts, handle, results_of

pytestmark = pytest.mark.anyio
POLICY = Retry(max_attempts=3, backoff=10.0, max_backoff=10.0, jitter=0.0)


class Notes:
    """A recorder of attempts."""

    def __init__(self) -> None:
        self.attempts: list[tuple[dict[str, int], float]] = []

    def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
        self.attempts.append(({key: attempt.made for key, attempt in attempts.items()}, delay))

    def dead_letter_added(self, letter: Any) -> None:
        """Note nothing."""

    dead_letter_removed = dead_letter_added


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    """Yield the parts of a queue of two collectors: "a" is tried again, "b" is not."""
    parts = Parts()
    collectors = (Collector("a", handle, retry=POLICY), Collector("b", handle))
    parts.follow(*collectors, loop=asyncio.get_running_loop())
    yield parts
    parts.retries.close()


def refused(key: str = "a") -> Error[Any]:
    return Error(ConnectionError("refused"), key=key)


def run_due(retries: Retries) -> None:
    """Do what the timers do."""
    retries._schedule.run_due()
    retries._deadlines.run_due()


def attempts_of(event: CollectorEvent) -> dict[str, int]:
    return {} if event.course is None else {key: attempt.made for key, attempt in event.course.attempts.items()}


async def test_a_success_ends_the_event(parts: Parts) -> None:
    """So does a failure of a collector that is not tried again."""
    results = ResultList([Ok(1, key="a"), refused("b")])
    follow = parts.retries.after(parts.begun(), results)
    assert follow.due is None
    assert follow.results is results
    assert follow.on_record
    assert len(parts.letters) == 0


async def test_a_failed_attempt_is_followed_by_another(parts: Parts) -> None:
    """It is due after the wait of the policy, and goes to the collector that has failed, with its number."""
    event, results = parts.begun(), ResultList([refused(), Ok(2, key="b")])
    follow = parts.retries.after(event, results)
    assert follow.due == parts.now + 10.0
    parts.retries.hold(event, follow.due)
    run_due(parts.retries)
    assert (len(parts.retries), parts.due) == (1, [])
    parts.now += 10.0
    run_due(parts.retries)
    assert (len(parts.retries), parts.due) == (0, [(event, False)])
    assert event.course is not None
    assert event.course.only == ("a",)
    second = ResultList([Ok(3, key="a")])
    assert parts.retries.completed(event, second) == [*second, results[1]]


async def test_the_last_failure_is_a_dead_letter(parts: Parts) -> None:
    """The result says how many attempts there were, and how the one before failed."""
    event = parts.begun()
    for made in (1, 2):
        due = parts.retries.after(event, ResultList([refused()])).due
        assert due is not None
        assert attempts_of(event) == {"a": made}
        parts.retries.hold(event, due)
        parts.now = due
        run_due(parts.retries)
    follow = parts.retries.after(event, ResultList([refused()]))
    assert follow.due is None
    assert follow.results.first().details["attempt"] == 3  # type: ignore[union-attr,index]
    assert [(letter.id, letter.collector, letter.attempts) for letter in parts.letters] == [(event.id, "a", 3)]
    assert parts.retries.returned == 2


async def test_what_is_rejected_is_not_tried_again(parts: Parts) -> None:
    parts.retries.after(parts.begun(), ResultList([Error(Reject("bad"), key="a")]))
    assert len(parts.letters) == 1


async def test_a_cancelled_event_is_not_tried_again(parts: Parts) -> None:
    event = parts.begun()
    assert event.note_cancelled()
    assert parts.retries.after(event, ResultList([refused()])).due is None


async def test_an_event_that_waits_ends_at_its_deadline(parts: Parts) -> None:
    """The collector that was to be tried again gets a dead letter; results that are there stay."""
    event = parts.begun(deadline=parts.now + 60.0)
    parts.retries.watch(event, parts.now + 60.0)
    results = ResultList([refused(), Ok(2, key="b")])
    parts.ending.ended(event, results)
    assert event.place is parts.retries
    parts.now += 61.0
    parts.retries._deadlines.run_due()
    ended = results_of(event)
    assert isinstance(ended[0].err, DeadlineExceeded)  # type: ignore[union-attr]
    assert ended[1] is results[1]
    assert len(parts.letters) == 1
    assert len(parts.retries) == 0


async def test_a_deadline_does_not_end_a_handler(parts: Parts) -> None:
    """Nor is an event ended that is forgotten."""
    running, forgotten = parts.begun(1, deadline=parts.now + 1), parts.event(2, deadline=parts.now + 1)
    parts.backlogs.here.push(forgotten)
    for event in (running, forgotten):
        parts.retries.watch(event, parts.now + 1)
    parts.retries.forget(forgotten)
    parts.now += 2
    run_due(parts.retries)
    assert not running.is_done()
    assert not forgotten.is_done()


async def test_a_drained_end_waits_for_no_one(parts: Parts) -> None:
    """What is scheduled gets its attempt at once, and later waits are short."""
    event = parts.begun()
    parts.ending.ended(event, ResultList([refused()]))
    parts.retries.drain()
    assert parts.due == [(event, False)]
    due = parts.retries.after(event, ResultList([refused()])).due
    assert due is not None
    assert due - parts.now < 1.0


async def test_a_record_lets_the_next_start_go_on(parts: Parts) -> None:
    """Attempts are noted. At the end events that wait are given up, and the record keeps them."""
    notes: Any = Notes()
    parts.retries.attach_recorder(notes)
    event = parts.begun()
    parts.ending.ended(event, ResultList([refused(), Ok(2, key="b")]))
    assert notes.attempts == [({"a": 1}, 10.0)]
    parts.retries.drain()
    assert parts.due == []
    assert isinstance(results_of(event).first().err, QueueShutDown)
    another = parts.begun(2)
    follow = parts.retries.after(another, ResultList([refused()]))
    assert (follow.due, follow.on_record) == (None, False)


async def test_giving_up_ends_what_waits(parts: Parts) -> None:
    """Nothing is tried again after that."""
    event = parts.begun()
    parts.ending.ended(event, ResultList([refused()]))
    parts.retries.give_up(QueueShutDown("over"))
    assert isinstance(results_of(event).first().err, QueueShutDown)
    follow = parts.retries.after(parts.begun(2), ResultList([refused()]))
    assert (follow.due, follow.on_record) == (None, False)


async def test_another_attempt_reaches_those_that_have_failed_only() -> None:
    """Each with the number of its own attempt."""
    seen: list[tuple[str, int]] = []

    def make(key: str) -> Collector:
        async def note(payload: Any, ctx: Any) -> None:
            seen.append((key, payload.attempt))

        return Collector(key, note, retry=POLICY)

    parts = Parts()
    parts.follow(make("a"), make("b"), make("c"), loop=asyncio.get_running_loop())
    event = parts.begun()
    results = ResultList([refused("a"), Ok(1, key="b"), refused("c")])
    parts.ending.ended(event, results)
    parts.now += 10.0
    run_due(parts.retries)
    assert event.course is not None
    answered = await parts.retries.attempt(event, event.course)
    assert [result.key for result in answered] == ["a", "c"]
    assert sorted(seen) == [("a", 2), ("c", 2)]
    parts.retries.close()
