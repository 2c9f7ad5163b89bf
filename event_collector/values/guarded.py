"""Calls of code that may raise, from bookkeeping that must go on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def guarded(what: str, call: Callable[..., object], *args: object) -> None:
    """Call `call(*args)`. Report an exception to the running event loop as one of `what`; do not raise it.

    KeyboardInterrupt and the like end the loop, as from any callback.
    """
    try:
        call(*args)
    except BaseException as exc:
        with suppress(RuntimeError):  # no loop runs: there is nobody to tell
            loop = asyncio.get_running_loop()
            if issubclass(type(exc), Exception):
                loop.call_exception_handler({"message": f"{what} raised", "exception": exc})
            else:
                loop.call_soon(reraise, exc)


def reraise(exc: BaseException) -> NoReturn:
    """Raise an exception."""
    raise exc
