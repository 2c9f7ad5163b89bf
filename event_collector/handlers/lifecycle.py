"""Lifecycles of collectors: entered in order before the first event, left in reverse after the last."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeAlias

from event_collector.values.context import Context
from event_collector.values.errors import ConfigError

Manager: TypeAlias = AbstractAsyncContextManager[Any] | AbstractContextManager[Any]

LifecycleManager: TypeAlias = Callable[[Context], Manager]
"""Takes the collector's context, returns a context manager: entered before the first event, left after the last."""


def make_manager(lifecycle: LifecycleManager, ctx: Context) -> Manager:
    """Return the context manager that `lifecycle(ctx)` returns. The asynchronous protocol takes precedence.

    Raise ConfigError if it returns something else, as a generator function without its decorator does.
    """
    manager = lifecycle(ctx)
    if isinstance(manager, (AbstractAsyncContextManager, AbstractContextManager)):
        return manager
    raise ConfigError(
        f"the lifecycle {getattr(lifecycle, '__qualname__', lifecycle)!r} returned {type(manager).__name__}, which "
        f"is no context manager: decorate the function with contextlib.asynccontextmanager or contextlib.contextmanager"
    )


class Lifecycles:
    """The open lifecycles of a queue."""

    def __init__(self) -> None:
        self._entered: list[Manager] = []

    async def enter(self, lifecycle: LifecycleManager, ctx: Context) -> None:
        """Enter the context manager that `make_manager()` returns."""
        manager = make_manager(lifecycle, ctx)
        if isinstance(manager, AbstractAsyncContextManager):
            await manager.__aenter__()
        else:
            manager.__enter__()
        self._entered.append(manager)

    async def leave(self) -> list[Exception]:
        """Leave all lifecycles in reverse order and return their errors; an error does not keep the others open.

        Cancellation interrupts the lifecycle that is being left; the next ones are left as usual.
        """
        # Not at the top: worker processes import this module, and most need no asyncio.
        from asyncio import CancelledError

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
            except CancelledError:
                continue
            except BaseException as exc:
                interrupt = exc
        if interrupt is not None:
            raise interrupt
        return errors


def raise_all(message: str, errors: list[Exception]) -> None:
    """Raise the error if there is one, or an ExceptionGroup of several."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup(message, errors)
