"""Retry policies: pure decisions whether and when a failed event is tried again."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from event_collector.handlers.attempt import Attempt
from event_collector.values.checks import LONGEST, is_number
from event_collector.values.errors import (
    ConfigError,
    DeadlineExceeded,
    EncodeError,
    EventCancelled,
    PayloadTypeError,
    Reject,
    RemoteError,
    RetryLater,
)
from event_collector_workers.error_texts import full_name

EXHAUSTED: Final = "exhausted"
REJECTED: Final = "rejected"
NOT_RETRIED: Final = "not retried"
QUARANTINED: Final = "quarantined"
DEADLINE: Final = "deadline"

CRASHES: Final = 2
"""Number of worker crashes with one event after which a collector quarantines it. One crash may be a coincidence."""

_HOPELESS: Final = (ConfigError, EncodeError, PayloadTypeError, EventCancelled, DeadlineExceeded)
"""Errors that no policy retries: they would occur again, or the application requested them."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The retry policy of a collector: exponential backoff with jitter.

    The delay after n failed attempts is at most `min(max_backoff, backoff * 2 ** (n - 1))` seconds. With jitter=1 it
    is uniformly distributed from 0 to that value ("full jitter": Marc Brooker, Exponential Backoff And Jitter, AWS
    Architecture Blog, 2015), so that events that failed together are not retried together.

    Args:
        max_attempts: maximum number of calls of the handler for one event, including the first; at least 1. With 1 an
            event that fails becomes a dead letter immediately.
        backoff: maximum delay after the first attempt, in seconds, 0 or more.
        max_backoff: maximum delay after any attempt, in seconds, at least `backoff`.
        jitter: random share of the delay, from 0 (none) to 1 (all of it).
        on: the exception class that is retried, or a tuple of classes. The class that the handler raised decides, also
            where it ran in another process and its exception comes back as a RemoteError. An Error that a handler
            returns is treated like the exception that it contains.

    Raises:
        ConfigError: a value is out of range.
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
        on: tuple[Any, ...] = _classes(self.on)
        if not on or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in on):
            raise ConfigError(f"Retry(on=...) takes an exception class or a tuple of them, not {self.on!r}")

    def delay(self, failures: int, chance: float) -> float:
        """Return the delay in seconds after at least one failed attempt; `chance` is a random number from 0 to 1."""
        # 2.0 ** 1024 overflows. A backoff that is doubled a thousand times exceeds any maximum.
        window = min(self.max_backoff, self.backoff * 2.0 ** min(failures - 1, 1000))
        return window * (1.0 - self.jitter * (1.0 - chance))


class Verdict(NamedTuple):
    """The decision on an event whose attempt has failed: another attempt after `delay` seconds, or a dead letter."""

    delay: float
    reason: str | None = None
    """The reason of the dead letter; None if there is another attempt."""


def decide(policy: Retry, attempt: Attempt, error: object, *, chance: float, left: float) -> Verdict:
    """Decide whether and when a collector tries an event again.

    `attempt` includes the last one, whose `error` usually is an exception. `chance` is a random number from 0 to 1.
    `left` is in seconds until the deadline of the event; infinite without one.
    """
    if _is_a(error, Reject):
        return Verdict(0.0, REJECTED)
    if attempt.crashes >= CRASHES:
        return Verdict(0.0, QUARANTINED)
    if _is_a(error, *_HOPELESS) or not _is_a(error, RetryLater, *_classes(policy.on)):
        return Verdict(0.0, NOT_RETRIED)
    if attempt.made >= policy.max_attempts:
        return Verdict(0.0, EXHAUSTED)
    requested = error.delay if isinstance(error, RetryLater) else None
    delay = policy.delay(attempt.made, chance) if requested is None else requested
    # PoolBroken.retry_in: until then the pool starts no worker.
    delay = max(delay, getattr(error, "retry_in", 0.0))
    return Verdict(0.0, DEADLINE) if delay >= left else Verdict(delay)


def _classes(on: Any) -> tuple[Any, ...]:
    return on if isinstance(on, tuple) else (on,)


def _is_a(error: object, *kinds: type) -> bool:
    """Return whether an exception is of one of these classes: the class that the handler raised, wherever it ran."""
    if isinstance(error, RemoteError) and error.classes:
        return any(".".join(full_name(kind)) in error.classes for kind in kinds)
    return isinstance(error, kinds)


def _check(name: str, value: Any, least: float, most: float) -> None:
    if not is_number(value) or not least <= value <= most:
        bound = f"from {least:g} to {most:g}" if most < LONGEST else f"of seconds from {least:g} on"
        raise ConfigError(f"Retry({name}=...) takes a number {bound}, not {value!r}")
