"""The event loop of one collector in a worker process: its coroutines, and its asynchronous lifecycle.

The loop runs while one of these does: at the lifecycle's two ends, and for each event of an `async def` handler.
One task, the *keeper*, enters the lifecycle and leaves it, as task groups and timeouts within it require.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context as ContextVars
from typing import Any

__all__ = ["HostLoop"]


class HostLoop:
    """Runs coroutines in a process that otherwise has no event loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._leaving = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._running: asyncio.Task[Any] | None = None

    def enter(self, manager: AbstractAsyncContextManager[Any]) -> None:
        """Enter a lifecycle; its error, if it cannot be, is raised here."""
        entered = self._loop.create_future()
        keeper = self._loop.create_task(self._keep(manager, entered), name="lifecycle")
        self._loop.run_until_complete(asyncio.wait((keeper, entered), return_when=asyncio.FIRST_COMPLETED))
        if not entered.done():
            keeper.result()
        self._keeper = keeper

    def run(self, call: Callable[[], Awaitable[Any]], variables: ContextVars) -> Any:
        """Await what `call()` returns, in a task with these context variables, and return the outcome."""
        task = self._running = self._loop.create_task(_await(call), context=variables)
        try:
            return self._loop.run_until_complete(task)
        finally:
            self._running = None
            if not task.done():  # the handler has stopped the loop
                task.cancel()
            elif not task.cancelled():
                task.exception()  # retrieved: KeyboardInterrupt and SystemExit come out of the loop by themselves

    def interrupt(self) -> None:
        """Cancel the coroutine that runs, if one does; called by another thread."""
        task = self._running
        if task is not None:
            with contextlib.suppress(RuntimeError):  # it ended meanwhile, and the loop with it
                self._loop.call_soon_threadsafe(task.cancel)

    @property
    def lifecycle_ended(self) -> bool:
        """Whether the lifecycle has ended by itself, as it does when a task of a group within it fails."""
        return self._keeper is not None and self._keeper.done()

    def forget_lifecycle(self) -> BaseException | None:
        """Make room for another lifecycle; return what ended this one."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.cancelled():
            return None
        return keeper.exception()

    def close(self) -> None:
        """Leave the lifecycle, cancel the tasks that handlers have left behind, and close the loop."""
        with self._runner:
            if self._keeper is not None:
                self._leaving.set()
                with contextlib.suppress(asyncio.CancelledError):  # one that ends like this has ended, too
                    self._loop.run_until_complete(self._keeper)

    async def _keep(self, manager: AbstractAsyncContextManager[Any], entered: "asyncio.Future[None]") -> None:
        async with manager:
            entered.set_result(None)
            await self._leaving.wait()


async def _await(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()
