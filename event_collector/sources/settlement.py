"""The settlement of a message after its event: acknowledge, retry, bury or release, as a pure decision."""

from collections.abc import Container
from enum import Enum
from math import inf
from typing import Final, NamedTuple

from event_collector.handlers.attempt import Attempt
from event_collector.handlers.retry import EXHAUSTED, Retry, Verdict, decide
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error, ResultList
from event_collector_workers.error_texts import error_text

MALFORMED: Final = "malformed"
"""The reason of a message that could not become an event."""
LOST: Final = "lost"
"""The reason of a message that was delivered too often and never settled."""


class Fate(Enum):
    """The fate of a delivered message, named like its field of `FeedCounts`."""

    ACKNOWLEDGED = "acknowledged"
    RETRIED = "retried"
    BURIED = "buried"
    RELEASED = "released"


class Settlement(NamedTuple):
    """The fate of a message; `delay` in seconds if it is RETRIED, `reason` if it is BURIED, `error` in both cases."""

    fate: Fate
    delay: float = 0.0
    reason: str = ""
    error: str = ""


def settle(
    results: ResultList, deliveries: int, policy: Retry, *, retried_here: Container[str | None], chance: float
) -> Settlement:
    """Return the settlement of a message. It is retried if that may help any of its collectors.

    `deliveries` includes this one. The errors of the collectors `retried_here` are final: they have retried by their
    own policy. `chance` is a random number from 0 to 1, for the jitter.
    """
    errors = [result for result in results if isinstance(result, Error)]
    if not errors:
        return Settlement(Fate.ACKNOWLEDGED)
    if any(isinstance(error.err, QueueShutDown) for error in errors):
        return Settlement(Fate.RELEASED)
    attempt = Attempt(deliveries)
    verdicts = [
        Verdict(0.0, EXHAUSTED) if error.key in retried_here
        else decide(policy, attempt, error.err, chance=chance, left=inf)
        for error in errors
    ]  # fmt: skip
    retried = [(error, delay) for error, (delay, reason) in zip(errors, verdicts, strict=True) if reason is None]
    if retried:
        return Settlement(Fate.RETRIED, max(delay for _, delay in retried), error=error_text(retried[0][0].err))
    return Settlement(Fate.BURIED, reason=str(verdicts[0].reason), error=error_text(errors[0].err))
