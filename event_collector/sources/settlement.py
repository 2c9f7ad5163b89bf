"""Settlement: what a broker is told of a message whose event is done, as a pure decision."""

from collections.abc import Container
from enum import Enum
from math import inf
from typing import Any, Final, NamedTuple

from event_collector.handlers.attempt import Attempt
from event_collector.handlers.retry import EXHAUSTED, Retry, decide
from event_collector.remote.remote_exceptions import error_text
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error, ResultList

__all__ = ["LOST", "MALFORMED", "Fate", "Settlement", "settle"]

MALFORMED: Final = "malformed"
"""The reason of a message that could not become an event."""
LOST: Final = "lost"
"""The reason of a message that was delivered again and again, while nobody told what became of it."""


class Fate(Enum):
    """What becomes of a delivered message."""

    ACKNOWLEDGED = "acknowledged"
    """It is done with."""
    RETRIED = "retried"
    """It is delivered again, after a while."""
    BURIED = "buried"
    """It is a dead letter."""
    RELEASED = "released"
    """It is delivered again at once: this program ends."""


class Settlement(NamedTuple):
    """The fate of a message."""

    fate: Fate
    delay: float = 0.0
    """Seconds, for RETRIED."""
    reason: str = ""
    """For BURIED: why."""
    error: str = ""
    """For RETRIED and BURIED: how it failed, as text."""


def settle(
    results: ResultList, deliveries: int, policy: Retry, *, retried_here: Container[str | None], chance: float
) -> Settlement:
    """Return what becomes of a message.

    It is delivered again if that may help any of its collectors.

    Args:
        results: of its event.
        deliveries: of the message, this one included.
        policy: how often a message is delivered, and when.
        retried_here: the keys of collectors with a policy of their own: their errors are final.
        chance: a random number from 0 to 1.

    """
    errors = [result for result in results if isinstance(result, Error)]
    if not errors:
        return Settlement(Fate.ACKNOWLEDGED)
    if any(isinstance(error.err, QueueShutDown) for error in errors):
        return Settlement(Fate.RELEASED)
    verdicts = [
        (EXHAUSTED, 0.0) if error.key in retried_here else _judge(error, deliveries, policy, chance)
        for error in errors
    ]
    waits = [delay for reason, delay in verdicts if reason is None]
    if waits:
        failed = next(error for error, (reason, _) in zip(errors, verdicts, strict=True) if reason is None)
        return Settlement(Fate.RETRIED, max(waits), error=error_text(failed.err))
    return Settlement(Fate.BURIED, reason=str(verdicts[0][0]), error=error_text(errors[0].err))


def _judge(error: Error[Any], deliveries: int, policy: Retry, chance: float) -> tuple[str | None, float]:
    verdict = decide(policy, Attempt(deliveries), error.err, chance=chance, left=inf)
    return verdict.reason, verdict.delay
