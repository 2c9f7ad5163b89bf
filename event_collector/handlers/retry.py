"""Retry: how often and when a collector tries an event again, as a pure decision."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from event_collector.handlers.attempt import Attempt
from event_collector.values.errors import (
    ConfigError,
    DeadlineExceeded,
    EncodeError,
    EventCancelled,
    PayloadTypeError,
    Reject,
    RetryLater,
)

__all__ = ["Retry", "Verdict", "decide"]

EXHAUSTED: Final = "exhausted"
REJECTED: Final = "rejected"
NOT_RETRIED: Final = "not retried"
QUARANTINED: Final = "quarantined"
DEADLINE: Final = "deadline"

LONGEST: Final = 100 * 365.25 * 86400.0
"""Seconds: a wait that ends in a hundred years is a mistake, or infinite, which no timer takes."""

CRASHES: Final = 2
"""Worker processes that one event may end in one collector before it is quarantined: one may have been chance."""

_HOPELESS: Final = (ConfigError, EncodeError, PayloadTypeError, EventCancelled, DeadlineExceeded)
"""Errors that come back, or that were asked for: no policy retries them."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a collector tries an event again whose handler has failed.

    The wait after n failed attempts is exponential, with jitter: at most `min(max_backoff, backoff * 2 ** (n - 1))`
    seconds, and with jitter=1 any time from 0 to that with equal chance ("full jitter": Marc Brooker, Exponential
    Backoff And Jitter, AWS Architecture Blog, 2015), so that events which failed together do not come back together.

    Args:
        max_attempts: how often the handler is called for one event, the first time included, at least 1. With 1
            nothing is retried, and what fails becomes a dead letter at once.
        backoff: seconds that the first wait takes at most, 0 or more.
        max_backoff: seconds that any wait takes at most, at least `backoff`.
        jitter: how much of a wait is left to chance, from 0 (none) to 1 (all of it).
        on: the exception class that is retried, or several. An Error that a handler returns counts as the exception
            in it.

    Raises:
        ConfigError: a value is out of its range.

    """

    max_attempts: int = 3
    backoff: float = 1.0
    max_backoff: float = 60.0
    jitter: float = 1.0
    on: type[Exception] | tuple[type[Exception], ...] = Exception

    def __post_init__(self) -> None:
        attempts: Any = self.max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise ConfigError(f"Retry(max_attempts=...) takes a whole number from 1 on, not {attempts!r}")
        _check("backoff", self.backoff, 0.0, LONGEST)
        _check("max_backoff", self.max_backoff, self.backoff, LONGEST)
        _check("jitter", self.jitter, 0.0, 1.0)
        on: tuple[Any, ...] = self.on if isinstance(self.on, tuple) else (self.on,)
        if not on or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in on):
            raise ConfigError(f"Retry(on=...) takes an exception class or a tuple of them, not {self.on!r}")

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after so many failed attempts.

        Args:
            failures: attempts that have failed, at least 1.
            chance: a random number from 0 to 1.

        """
        # 2.0 ** 1024 overflows; a backoff doubled a thousand times is above any maximum.
        window = min(self.max_backoff, self.backoff * 2.0 ** min(failures - 1, 1000))
        return window * (1.0 - self.jitter * (1.0 - chance))


class Verdict(NamedTuple):
    """What becomes of an event whose attempt has failed: another one in `delay` seconds, or none for `reason`."""

    delay: float
    reason: str | None = None
    """One of those of a dead letter; None when there is another attempt."""


def decide(policy: Retry, attempt: Attempt, error: object, *, chance: float, left: float) -> Verdict:
    """Return whether a collector tries an event again, and when.

    Args:
        policy: of the collector.
        attempt: all that were made, the one that has just failed included.
        error: what it failed with: mostly an exception.
        chance: a random number from 0 to 1.
        left: seconds until the deadline of the event; infinite without one.

    """
    if isinstance(error, Reject):
        return Verdict(0.0, REJECTED)
    if attempt.crashes >= CRASHES:
        return Verdict(0.0, QUARANTINED)
    if isinstance(error, _HOPELESS) or not isinstance(error, (RetryLater, policy.on)):
        return Verdict(0.0, NOT_RETRIED)
    if attempt.made >= policy.max_attempts:
        return Verdict(0.0, EXHAUSTED)
    wanted = error.delay if isinstance(error, RetryLater) else None
    delay = policy.delay(attempt.made, chance) if wanted is None else wanted
    # The pool's own error tells when it tries another worker: before that none is there.
    delay = max(delay, getattr(error, "retry_in", 0.0))
    return Verdict(0.0, DEADLINE) if delay >= left else Verdict(delay)


def _check(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        bound = f"from {least:g} to {most:g}" if most < LONGEST else f"of seconds from {least:g} on"
        raise ConfigError(f"Retry({name}=...) takes a number {bound}, not {value!r}")
