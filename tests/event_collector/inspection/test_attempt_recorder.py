"""The recorder of attempts: what it keeps is bounded, and it says what each sample stands for."""

from typing import Any

import pytest

from event_collector import Collector, Error, Ok, Payload
from event_collector.events.event import CollectorEvent
from event_collector.inspection.attempt_recorder import MOST_FAILED, MOST_SPANS, SPANS_WANTED, AttemptRecorder
from event_collector.inspection.error_groups import AT_ONCE, LONGEST_TRACE, MOST, ErrorGroups, last_part, name_of
from event_collector.inspection.slowest import MOST as MOST_SLOW
from event_collector.inspection.slowest import WINDOW, Slowest
from event_collector.values.results import ResultList
from tests.event_collector.inspection.sample_watched import work_here


class Failures:
    """Watches failures, and counts them."""

    noted = 0

    def note(self, *_: Any) -> None:
        self.noted += 1


def end(event: CollectorEvent, results: ResultList) -> None:
    event.end(event.started + 0.001)


def make_recorder() -> tuple[AttemptRecorder, Failures]:
    failures = Failures()
    collectors = {"here": Collector("here", work_here)}
    return AttemptRecorder(collectors, end, failures, shows_payloads=False), failures


def ended(recorder: AttemptRecorder, *numbers: int) -> None:
    for number in numbers:
        recorder.ended(CollectorEvent(number, Payload(number), started=100.0), ResultList([Ok(number, key="here")]))


def fail(recorder: AttemptRecorder, number: int, error: Exception) -> None:
    event, results = CollectorEvent(number, Payload(number), started=100.0), ResultList([Error(error, key="here")])
    recorder.note(event, results, {})
    recorder.ended(event, results)


@pytest.mark.parametrize("rate", [10, 3_000, 50_000])
def test_a_sample_stands_for_all_attempts(rate: int) -> None:
    """At any rate, a bounded number of spans represents all attempts, and the row counts each of them."""
    recorder, _ = make_recorder()
    for second in range(3):
        ended(recorder, *range(rate))
        spans, lost, rows = recorder.take(200.0 + second, 1.0)
        assert len(spans) <= 3 * SPANS_WANTED + MOST_SLOW
        assert lost == 0
        assert sum(span[-1] for span in spans) == pytest.approx(rate, rel=0.05)
        assert [(row.attempts, round(row.seconds, 3)) for row in rows] == [(rate, rate / 1000)]
    assert recorder.stride == max(1, rate // SPANS_WANTED)


def test_failures_are_bounded_and_still_watched() -> None:
    """However many attempts fail, so many are looked at; each is counted, and passed on to those who watch."""
    recorder, failures = make_recorder()
    for number in range(5000):
        fail(recorder, number, ValueError(f"no {number % 3}"))
    groups = recorder.errors.look(0.0)
    assert failures.noted == 5000
    assert [(one.kind, one.line) for one in groups] == [("ValueError", f"no {n}") for n in (1, 0, 2)]
    assert sum(one.count for one in groups) == AT_ONCE
    assert recorder.errors.ungrouped == 5000 - AT_ONCE
    assert len(recorder.failed) == MOST_FAILED
    spans, lost, _ = recorder.take(200.0, 1.0)
    assert (len(spans), lost) == (MOST_SPANS, 5000 - MOST_SPANS)


def test_groups_and_their_texts_are_bounded() -> None:
    """The groups with the newest errors stay; a long traceback loses its begin, a long line its end."""
    groups = ErrorGroups()
    for number in range(MOST + 10):
        groups.add(
            "here", name_of(ValueError(f"{number} " + "x" * 1000)), float(number), event=number, trace="t" * 9999
        )
    shown = groups.look(1000.0)
    assert [one.event for one in shown] == list(range(MOST + 9, 9, -1))
    assert groups.ungrouped == 10
    assert (shown[0].first, shown[0].last) == (1000.0 + MOST + 9, 1000.0 + MOST + 9)
    assert shown[0].line.endswith("x...")
    assert len(shown[0].line) == 200
    assert len(shown[0].traceback) == LONGEST_TRACE
    assert last_part("one\ntwo\n") == "one\ntwo"


def test_the_slowest_of_the_last_minute_stay() -> None:
    """A new one must exceed the bar once there are as many as there may be. After a minute they go."""
    recorder, _ = make_recorder()
    slowest = Slowest()
    for number in range(MOST_SLOW + 5):
        event = CollectorEvent(number, Payload(number), created=0.0)
        slowest.add(recorder._attempt(event, (0, 1), "here", "ok", 0.0, 1.0 + number))
    assert [one.event for one in slowest] == list(range(MOST_SLOW + 4, 4, -1))
    assert slowest.bar == 6.0
    slowest.forget(WINDOW + 10.0)
    assert [one.event for one in slowest] == list(range(MOST_SLOW + 4, 8, -1))
    assert slowest.bar == 0.0
