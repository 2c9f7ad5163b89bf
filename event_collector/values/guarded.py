"""Calls of code that may raise, from bookkeeping that must go on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress


def guarded(what: str, call: Callable[..., object], *args: object) -> None:
    """Call `call(*args)`. Report an exception to the running event loop as one of `what`; do not raise it."""
    try:
        call(*args)
    except Exception as exc:
        with suppress(RuntimeError):  # no loop runs: there is nobody to tell
            asyncio.get_running_loop().call_exception_handler({"message": f"{what} raised", "exception": exc})
