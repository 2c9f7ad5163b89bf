"""The event loop of one collector in a worker process, for its coroutines and its asynchronous lifecycle.

The loop runs only while the lifecycle is entered or left, and during each event of an `async def` handler.
One task, the *keeper*, enters and leaves the lifecycle, because task groups and timeouts require a single task.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import Context as ContextVars
from typing import Any

from event_collector.handlers.stack_frames import hide_modules

hide_modules(__name__, asyncio.BaseEventLoop.__module__, asyncio.Runner.__module__, asyncio.Handle.__module__)


class HostLoop:
    """Runs coroutines in a thread without an event loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._leaving = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._running: asyncio.Task[Any] | None = None

    def enter(self, manager: AbstractAsyncContextManager[Any]) -> None:
        """Enter a lifecycle, or raise the exception that it raises."""
        entered = self._loop.create_future()
        keeper = self._loop.create_task(self._keep(manager, entered), name="lifecycle")
        self._loop.run_until_complete(asyncio.wait((keeper, entered), return_when=asyncio.FIRST_COMPLETED))
        if not entered.done():
            keeper.result()
        self._keeper = keeper

    def run(self, call: Callable[[], Awaitable[Any]], variables: ContextVars) -> Any:
        """Await `call()` in a task with these context variables and return the outcome."""
        task = self._running = self._loop.create_task(_await(call), context=variables)
        try:
            return self._loop.run_until_complete(task)
        finally:
            self._running = None
            if not task.done():  # the handler has stopped the loop
                task.cancel()
            elif not task.cancelled():
                task.exception()  # marks it retrieved: the loop itself raises KeyboardInterrupt and SystemExit

    def begin(self, call: Coroutine[Any, Any, None], variables: ContextVars) -> "asyncio.Task[None]":
        """Return a task with these context variables, which goes on whenever the loop runs."""
        return self._loop.create_task(call, context=variables)

    def future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return self._loop.create_future()

    def run_until(self, task: "asyncio.Task[Any]", *others: "asyncio.Future[Any]") -> None:
        """Run the loop until the task or one of the others is done."""
        self._running = task
        try:
            self._loop.run_until_complete(asyncio.wait((task, *others), return_when=asyncio.FIRST_COMPLETED))
        finally:
            self._running = None

    def interrupt(self) -> None:
        """Cancel the running coroutine, if there is one; called by another thread."""
        task = self._running
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(task.cancel)

    @property
    def lifecycle_ended(self) -> bool:
        """Whether the lifecycle has ended by itself, for example because a task of its task group failed."""
        return self._keeper is not None and self._keeper.done()

    def forget_lifecycle(self) -> BaseException | None:
        """Remove the lifecycle that has ended; return the exception that ended it."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.cancelled():
            return None
        return keeper.exception()

    def close(self) -> None:
        """Leave the lifecycle, cancel the remaining tasks of handlers, and close the loop."""
        with self._runner:
            if self._keeper is not None:
                self._leaving.set()
                with contextlib.suppress(asyncio.CancelledError):  # the lifecycle has ended all the same
                    self._loop.run_until_complete(self._keeper)

    async def _keep(self, manager: AbstractAsyncContextManager[Any], entered: "asyncio.Future[None]") -> None:
        async with manager:
            entered.set_result(None)
            await self._leaving.wait()


async def _await(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()
