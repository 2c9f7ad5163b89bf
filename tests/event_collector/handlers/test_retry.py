"""Retry: how long the waits are, and what is tried again."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    EncodeError,
    EventCollectorException,
    Payload,
    Reject,
    RemoteError,
    ResultList,
    Retry,
    RetryLater,
    Router,
    SimpleRouter,
)
from event_collector.handlers.attempt import Attempt
from event_collector.handlers.retry import decide
from event_collector_workers.error_texts import class_names
from event_collector_workers.pool_errors import PoolBroken
from tests.event_collector.sample_attempts import echo_async

seconds = st.floats(0, 1e6)
chances = st.floats(0, 1)


@st.composite
def policies(draw: st.DrawFn) -> Retry:
    backoff, extra = draw(seconds), draw(seconds)
    return Retry(draw(st.integers(1, 50)), backoff, backoff + extra, draw(chances), ConnectionError)


@given(policies(), st.integers(1, 10_000), chances)
@example(Retry(backoff=1e9, max_backoff=1e9), 10_000, 1.0)
def test_a_wait_is_within_its_window(policy: Retry, failures: int, chance: float) -> None:
    """A wait is at most backoff * 2 ** (failures - 1) and max_backoff, and at least what jitter leaves of that."""
    delay = policy.delay(failures, chance)
    exact = policy.backoff * 2.0 ** min(failures - 1, 1000)
    window = min(policy.max_backoff, exact)
    assert window * (1 - policy.jitter) - 1e-6 <= delay <= window * (1 + 1e-12)


@given(policies(), st.integers(1, 100), chances, chances)
def test_waits_grow_with_failures_and_with_chance(policy: Retry, failures: int, one: float, other: float) -> None:
    """With the same luck a later wait is never shorter, and more luck never shortens one."""
    assert policy.delay(failures, one) <= policy.delay(failures + 1, one) * (1 + 1e-12)
    low, high = sorted((one, other))
    assert policy.delay(failures, low) <= policy.delay(failures, high) * (1 + 1e-12)


def test_ten_thousand_failures_at_once_are_spread() -> None:
    """With full jitter no tenth of a second gets twice its share of the attempts that failed together."""
    import random

    chance, policy = random.Random(7).random, Retry(backoff=10.0)
    buckets = [0] * 100
    for _ in range(10_000):
        buckets[min(99, int(policy.delay(1, chance()) * 10))] += 1
    assert max(buckets) < 200
    assert min(buckets) > 20


@given(policies(), st.integers(1, 60), st.integers(0, 5), chances, st.floats(0, 1e6) | st.just(math.inf))
def test_decisions(policy: Retry, made: int, crashes: int, chance: float, left: float) -> None:
    """There are never more attempts than allowed, none after two crashes, and none that could begin too late."""
    attempt = Attempt(made, "", min(crashes, made))
    delay, reason = decide(policy, attempt, ConnectionResetError(), chance=chance, left=left)
    if attempt.crashes >= 2:
        assert reason == "quarantined"
    elif made >= policy.max_attempts:
        assert reason == "exhausted"
    elif policy.delay(made, chance) >= left:
        assert reason == "deadline"
    else:
        assert (delay, reason) == (policy.delay(made, chance), None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError(), None),
        (ConnectionResetError(), None),
        (KeyError(), "not retried"),
        ("text", "not retried"),
        (Reject(), "rejected"),
        (EncodeError(), "not retried"),
        (RetryLater(), None),
    ],
)
def test_what_is_tried_again(error: Any, reason: str | None) -> None:
    """Only the exceptions of the policy are retried, and RetryLater; Reject never is."""
    assert decide(Retry(on=ConnectionError), Attempt(1), error, chance=0.5, left=math.inf).reason == reason


def test_errors_that_would_come_again_are_not_retried() -> None:
    """What cannot be encoded today cannot be tomorrow, whatever the policy says."""
    assert decide(Retry(), Attempt(1), EncodeError(), chance=0.5, left=math.inf).reason == "not retried"


def test_a_handler_chooses_the_wait() -> None:
    """RetryLater(delay=...) overrules the policy's wait, not its number of attempts."""
    policy = Retry(max_attempts=2)
    assert decide(policy, Attempt(1), RetryLater(delay=99.0), chance=0.5, left=math.inf) == (99.0, None)
    assert decide(policy, Attempt(2), RetryLater(delay=99.0), chance=0.5, left=math.inf).reason == "exhausted"


def test_a_broken_pool_is_given_its_time() -> None:
    """An event that found no worker waits at least until the pool tries to start one."""
    error = PoolBroken("", retry_in=5.0)
    assert decide(Retry(backoff=0), Attempt(1), error, chance=0.5, left=math.inf).delay == 5.0


@pytest.mark.parametrize(
    "bad",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"max_attempts": True},
        {"backoff": -1},
        {"backoff": "1"},
        {"backoff": math.nan},
        {"backoff": math.inf},
        {"backoff": 100.0},  # above max_backoff
        {"max_backoff": math.inf},
        {"jitter": 1.5},
        {"on": ()},
        {"on": "ValueError"},
        {"on": BaseException},
        {"on": (ValueError, 5)},
    ],
)
def test_bad_policies_are_refused(bad: dict[str, Any]) -> None:
    """A value out of its range is refused at once, with the name of the parameter."""
    with pytest.raises(ConfigError, match=next(iter(bad)) if bad != {"backoff": 100.0} else "max_backoff"):
        Retry(**bad)


def test_a_policy_cannot_be_changed() -> None:
    """Collectors share policies, so these are frozen."""
    with pytest.raises(AttributeError):
        Retry().max_attempts = 5  # type: ignore[misc]


@pytest.mark.parametrize("delay", [-1, "1", math.nan, math.inf, True])
def test_bad_delays_are_refused(delay: Any) -> None:
    """RetryLater takes seconds from 0 on."""
    with pytest.raises(ConfigError, match="RetryLater"):
        RetryLater(delay=delay)


def test_a_collector_takes_nothing_but_a_policy() -> None:
    """A number of attempts is not enough: the error says what is."""
    with pytest.raises(ConfigError, match=r"Retry\(max_attempts=5\)"):
        Collector("c", echo_async, retry=3)  # type: ignore[arg-type]


class Own(Router):
    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        return ResultList()


class OwnGathering(SimpleRouter):
    def gather_results(self, results: Any) -> ResultList:
        return ResultList()


@pytest.mark.parametrize("router", [Own, OwnGathering])
def test_a_router_that_runs_collectors_itself_cannot_be_retried(router: Any) -> None:
    """What such a router makes of one collector's results is unknown, so retry= is refused, with the reason."""
    with pytest.raises(ConfigError, match="cannot be tried again alone"):
        CollectorQueue([Collector("c", echo_async, retry=Retry())], router=router, logging=False)
    CollectorQueue([Collector("c", echo_async)], router=router, logging=False)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ConnectionResetError, None),
        (KeyError, "not retried"),
        (KeyboardInterrupt, "not retried"),
        (type("Never", (Reject,), {}), "rejected"),
        (type("Later", (RetryLater,), {}), None),
        (type("Unfit", (EncodeError, ConnectionError), {}), "not retried"),
    ],
)
def test_a_remote_error_counts_as_what_it_stands_for(kind: type, reason: str | None) -> None:
    """The names of the classes decide, not the bases of RemoteError, if an exception could not be rebuilt."""
    error = RemoteError("text")
    error.classes = class_names(kind)
    policy = Retry(on=(ConnectionError, EventCollectorException))
    assert decide(policy, Attempt(1), error, chance=0.0, left=math.inf).reason == reason


def test_a_remote_error_of_the_application_is_one_itself() -> None:
    """Without names it is what its class says."""
    verdict = decide(Retry(on=RemoteError), Attempt(1), RemoteError("text"), chance=0.0, left=math.inf)
    assert verdict.reason is None
