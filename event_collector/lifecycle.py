"""Lifecycles of collectors: entered in order before the first event, left in reverse after the last."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from event_collector.data import Context

__all__ = ["Lifecycles"]


class Lifecycles:
    """The lifecycles that were entered and not yet left."""

    def __init__(self) -> None:
        self._entered: list[AbstractAsyncContextManager[Any] | AbstractContextManager[Any]] = []

    async def enter(self, lifecycle: Any, ctx: Context) -> None:
        """Enter the context manager that `lifecycle(ctx)` returns, asynchronous or plain."""
        manager = lifecycle(ctx)
        if hasattr(manager, "__aenter__"):
            await manager.__aenter__()
        else:
            manager.__enter__()
        self._entered.append(manager)

    async def leave(self) -> list[Exception]:
        """Leave all, the last entered first, each whatever happens to the others; return their errors.

        Cancelled, it goes on with the next one and raises CancelledError at the end.
        """
        errors: list[Exception] = []
        interrupt: BaseException | None = None
        while self._entered:
            manager = self._entered.pop()
            try:
                if isinstance(manager, AbstractAsyncContextManager):
                    await manager.__aexit__(None, None, None)
                else:
                    manager.__exit__(None, None, None)
            except Exception as exc:
                errors.append(exc)
            except BaseException as exc:
                interrupt = exc
        if interrupt is not None:
            raise interrupt
        return errors


def raise_all(message: str, errors: list[Exception]) -> None:
    """Raise the one error, or an ExceptionGroup of several."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup(message, errors)
