"""The events of a pool, for its owner."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from event_collector_workers.pool_errors import PoolBroken


def tell(call: Callable[..., object], *args: object) -> None:
    """Call `call(*args)`, code of the pool's owner. What it raises goes to the event loop: the pool goes on."""
    try:
        call(*args)
    except BaseException as error:
        report(error, call)


def report(error: BaseException, call: object) -> None:
    """Report what a call has raised to the loop's exception handler. KeyboardInterrupt and the like end the loop."""
    loop = asyncio.get_running_loop()
    if issubclass(type(error), Exception):
        loop.call_exception_handler({"message": f"{call!r} raised", "exception": error})
    else:
        loop.call_soon(_reraise, error)


def _reraise(error: BaseException) -> NoReturn:
    raise error


class PoolListener:
    """Receives the events of a pool, in the loop's thread. Override the methods of interest.

    What they raise is reported to the loop's exception handler, and has no other effect on the pool.
    """

    def room(self) -> None:
        """The pool accepts jobs again: its room was 0. Called at most once in a turn of the loop."""

    def answers(self) -> None:
        """All results of a batch have been handed to their jobs."""

    def imported_apart(self, module: str, reason: str) -> None:
        """Each worker imports a module by itself: workers that are forked after its import would share something."""

    def worker_started(self, pid: int, seconds: float) -> None:
        """A worker is ready, `seconds` after its start."""

    def worker_stopped(self, pid: int | None, reason: str, exitcode: int | None) -> None:
        """A worker has ended. `reason` is "stopped" (as requested), "crashed" or "not started"."""

    def worker_complained(self, pid: int | None, trace: str) -> None:
        """A worker that was asked to stop failed to close its tasks. `trace` is its traceback."""

    def breaker_opened(self, error: PoolBroken) -> None:
        """Too many workers in a row have died. Jobs fail at once until the breaker closes."""

    def breaker_closed(self) -> None:
        """A job has finished: the pool works again."""

    def structured_level(self) -> int:
        """Return the lowest level of the structured records that `structured` takes; asked as each worker starts."""
        return 0

    def structured(self, worker: int, pid: int, body: bytes) -> None:
        """A process of the worker with this number has sent a structured record, which the owner can decode."""
