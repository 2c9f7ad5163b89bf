"""An event loop in a thread of its own, for programs that have none."""

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def fast_loop() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """Return the factory of uvloop's event loop; None, for asyncio's own, where it is not installed."""
    try:
        import uvloop  # not available on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class LoopThread:
    """Runs an event loop from its creation to `close()`. The thread never keeps the program from ending.

    Only its thread writes `_leave`, before the creation is over.
    """

    def __init__(self) -> None:
        self._leave: asyncio.Event
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="event_collector", daemon=True)
        self._thread.start()
        self.loop = started.result()

    def _run(self, started: "Future[asyncio.AbstractEventLoop]") -> None:
        try:
            with asyncio.Runner(loop_factory=fast_loop()) as runner:
                runner.run(self._serve(started))
        except BaseException as exc:
            if started.done():
                raise
            started.set_exception(exc)  # no event loop could be made

    async def _serve(self, started: "Future[asyncio.AbstractEventLoop]") -> None:
        self._leave = asyncio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._leave.wait()

    def close(self) -> None:
        """Cancel the tasks that are left, and end loop and thread. Interrupted by Ctrl-C, they end a little later."""
        self.loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def __repr__(self) -> str:
        return f"<LoopThread {'running' if self._thread.is_alive() else 'ended'}>"
