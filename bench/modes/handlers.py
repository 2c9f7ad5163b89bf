"""The functions as handlers of a CollectorQueue, of this library or the existing one."""

from typing import Any

from event_collector import Ok, Payload

from .work import call, call_async

__all__ = ["AsyncHandler", "Handler"]


class Handler:
    """A plain handler of one of the functions; worker processes get a copy."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, payload: Payload, _ctx: Any) -> Ok:
        return Ok(call(self.name, payload.value))


class AsyncHandler(Handler):
    """The same as a coroutine."""

    async def __call__(self, payload: Payload, _ctx: Any) -> Ok:  # type: ignore[override]
        return Ok(await call_async(self.name, payload.value))
