"""Progress of handlers: the public `progress()`, and those who take what it reports.

A report costs no message. In a worker process it is written to the page that the worker shares with the program; in the
program itself it is kept by the queue, and read when somebody takes a snapshot.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeAlias

from event_collector.values.checks import is_number
from event_collector.values.clock import clock

Report: TypeAlias = Callable[[float, float | None, str], bool]
"""Takes done, total and note of a handler's report; returns False if the caller is in no handler that it knows."""

_takers: Final[list[Report]] = []


class RunningProgress(NamedTuple):
    """What an event in a handler has reported last."""

    event_id: int
    collector: str | None
    """None if it is not known."""
    worker_pid: int | None
    """None in the program itself."""
    done: float
    total: float | None
    note: str
    at: float
    """Monotonic seconds."""


class Pulse:
    """When a handler with a heartbeat has reported its progress last. Any thread of the handler may beat."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = clock.now()

    def beat(self) -> None:
        """Note a report."""
        self.at = clock.now()


_pulse: Final[ContextVar[Pulse | None]] = ContextVar("event_collector_pulse", default=None)


def begin_pulse() -> Pulse:
    """Return a pulse that beats at each report in this context, and in copies that are made of it from now on."""
    pulse = Pulse()
    _pulse.set(pulse)
    return pulse


def register_report(take: Report) -> None:
    """Have `progress()` pass reports to `take`; each way to run handlers registers itself."""
    _takers.append(take)


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Report how far the handler has come with its event, which `queue.snapshot()` and `event-collector top` show.

    It may be called in a tight loop, and from threads and tasks of the handler. The last report counts. With
    `Collector(heartbeat=...)` it also tells that the handler makes progress. Outside of a handler it has no effect, so
    functions that report can be called anywhere; nor has it in the processes of other executors and of Dask.

    Args:
        done: what is done, such as a number of rows or bytes. A number, 0 or more.
        total: what there is in all, in the same unit. A number, 0 or more; None if it is unknown.
        note: what the handler is doing. Text; at most 200 bytes of UTF-8 are kept.

    Raises:
        TypeError: an argument has another type.
    """
    if not _is_real(done) or (total is not None and not _is_real(total)) or not isinstance(note, str):
        raise TypeError(_describe_misuse(done, total, note))
    pulse = _pulse.get()
    if pulse is not None:
        pulse.beat()
    for take in _takers:
        if take(done, total, note):
            return


def _is_real(value: Any) -> bool:
    # Numbers of NumPy are no int, but can be made a float of. So can bool, which is no number here.
    return is_number(value) or (not isinstance(value, (int, float)) and hasattr(type(value), "__float__"))


def _describe_misuse(done: Any, total: Any, note: Any) -> str:
    return f"progress() takes numbers and a text, such as progress(3, 10, 'rows'), not {(done, total, note)!r}"
