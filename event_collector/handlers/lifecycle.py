"""Lifecycles of collectors: entered in order before the first event, left in reverse after the last."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeAlias

from event_collector.values.context import Context
from event_collector.values.errors import ConfigError

__all__ = ["Lifecycles", "Manager", "make_manager", "raise_all"]

Manager: TypeAlias = AbstractAsyncContextManager[Any] | AbstractContextManager[Any]


def make_manager(lifecycle: Callable[[Context], Any], ctx: Context) -> Manager:
    """Return the context manager that `lifecycle(ctx)` makes; one that is both is used as an asynchronous one.

    Raises:
        ConfigError: it makes something else, as a generator function that lacks its decorator does.

    """
    manager = lifecycle(ctx)
    if isinstance(manager, (AbstractAsyncContextManager, AbstractContextManager)):
        return manager
    raise ConfigError(
        f"the lifecycle {getattr(lifecycle, '__qualname__', lifecycle)!r} returned {type(manager).__name__}, which "
        f"is no context manager: decorate the function with contextlib.asynccontextmanager or contextlib.contextmanager"
    )


class Lifecycles:
    """The lifecycles that were entered and not yet left."""

    def __init__(self) -> None:
        self._entered: list[Manager] = []

    async def enter(self, lifecycle: Callable[[Context], Any], ctx: Context) -> None:
        """Enter the context manager that `lifecycle(ctx)` returns, asynchronous or plain.

        Raises:
            ConfigError: it returns no context manager.

        """
        manager = make_manager(lifecycle, ctx)
        if isinstance(manager, AbstractAsyncContextManager):
            await manager.__aenter__()
        else:
            manager.__enter__()
        self._entered.append(manager)

    async def leave(self) -> list[Exception]:
        """Leave all, the last entered first, each whatever happens to the others; return their errors.

        A cancellation is for the one that is being left; it goes on with the next.
        """
        # Not at the top: a worker imports this module too, and may have no use for asyncio.
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
    """Raise the one error, or an ExceptionGroup of several."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup(message, errors)
