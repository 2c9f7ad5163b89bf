"""What a broker is told of a message, for every outcome of its event."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_collector import (
    Error,
    EventDropped,
    HandlerTimeout,
    Ok,
    PayloadTypeError,
    QueueShutDown,
    Reject,
    ResultList,
    Retry,
    RetryLater,
    WorkerCrashed,
)
from event_collector.sources.settlement import Fate, Settlement, settle

POLICY = Retry(max_attempts=3, backoff=8.0, max_backoff=60.0)
ERRORS = [
    ValueError("x"), Reject("x"), RetryLater("x", delay=5.0), PayloadTypeError("x"), EventDropped("x"),
    HandlerTimeout("x"), WorkerCrashed("x"), QueueShutDown("x"), "an answer",
]  # fmt: skip
results = st.lists(st.one_of(st.just(Ok(1)), st.sampled_from(ERRORS).map(Error)), max_size=4).map(ResultList)


def of(*errors: Any, deliveries: int = 1, chance: float = 0.5, retried_here: Any = ()) -> Settlement:
    made = ResultList(Error(error, key="a") if error is not None else Ok(1, key="a") for error in errors)
    return settle(made, deliveries, POLICY, retried_here=retried_here, chance=chance)


@pytest.mark.parametrize(
    ("errors", "deliveries", "expected"),
    [
        ((), 1, Settlement(Fate.ACKNOWLEDGED)),
        ((None, None), 9, Settlement(Fate.ACKNOWLEDGED)),
        ((ValueError("x"),), 1, Settlement(Fate.RETRIED, 4.0, "", "ValueError: x")),
        ((ValueError("x"),), 2, Settlement(Fate.RETRIED, 8.0, "", "ValueError: x")),
        ((ValueError("x"),), 3, Settlement(Fate.BURIED, 0.0, "exhausted", "ValueError: x")),
        ((RetryLater("x", delay=30.0),), 1, Settlement(Fate.RETRIED, 30.0, "", "RetryLater: x")),
        ((Reject("x"),), 1, Settlement(Fate.BURIED, 0.0, "rejected", "Reject: x")),
        ((PayloadTypeError("x"),), 1, Settlement(Fate.BURIED, 0.0, "not retried", "PayloadTypeError: x")),
        (("an answer",), 1, Settlement(Fate.BURIED, 0.0, "not retried", "an answer")),
        ((None, Reject("x"), ValueError("y")), 1, Settlement(Fate.RETRIED, 4.0, "", "ValueError: y")),
        ((QueueShutDown("x"), Reject("y")), 1, Settlement(Fate.RELEASED)),
    ],
)  # fmt: skip
def test_the_outcome_decides(errors: tuple[Any, ...], deliveries: int, expected: Settlement) -> None:
    """Success is acknowledged; a failure that may pass is retried while there are deliveries; others are buried."""
    assert of(*errors, deliveries=deliveries) == expected


def test_a_collector_with_a_policy_of_its_own_is_final() -> None:
    """Its error has been retried here, and is not delivered again."""
    assert of(ValueError("x"), retried_here={"a"}).reason == "exhausted"


@given(results, st.integers(1, 100), st.floats(0.0, 1.0))
def test_a_message_is_done_with_or_comes_again(made: ResultList, deliveries: int, chance: float) -> None:
    """Only success is acknowledged; nothing is delivered for ever; a wait is never negative; a grave has a reason."""
    fate, delay, reason, _ = settle(made, deliveries, POLICY, retried_here=(), chance=chance)
    errors = [result.err for result in made if isinstance(result, Error)]
    assert (fate is Fate.ACKNOWLEDGED) == (not errors)
    assert (fate is Fate.RELEASED) == any(isinstance(error, QueueShutDown) for error in errors)
    assert fate is not Fate.RETRIED or deliveries < POLICY.max_attempts
    assert 0.0 <= delay <= 60.0
    assert (fate is Fate.BURIED) == bool(reason)
