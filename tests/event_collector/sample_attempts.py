"""Handlers that fail as often as the payload says: at the top level of a module, where workers can import them."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from event_collector import Context, Error, Payload, Reject, RetryLater


def succeed_at(payload: Payload[Any], ctx: Context) -> Any:
    """Take the number of the attempt that succeeds, and how the others fail."""
    number, how = payload.value
    if payload.attempt < number:
        FAILURES[how](payload)
    return [payload.attempt, payload.last_error]


async def succeed_at_async(payload: Payload[Any], ctx: Context) -> Any:
    await asyncio.sleep(0)
    number, how = payload.value
    if how == "returned" and payload.attempt < number:
        return Error(ConnectionError(f"attempt {payload.attempt}"))
    return succeed_at(payload, ctx)


def refuse(payload: Payload[Any]) -> None:
    raise ConnectionError(f"attempt {payload.attempt}")


def later(payload: Payload[Any]) -> None:
    raise RetryLater(f"attempt {payload.attempt}", delay=0.01)


def soon(payload: Payload[Any]) -> None:
    raise RetryLater


def reject(payload: Payload[Any]) -> None:
    raise Reject("never")


def mistake(payload: Payload[Any]) -> None:
    raise KeyError("a mistake")


def die(payload: Payload[Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(payload: Payload[Any]) -> None:
    if payload.attempt == 1:
        die(payload)
    refuse(payload)


class ApiError(Exception):
    """Takes what it makes its text of."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class Later(RetryLater):
    """Takes the number of the attempt alone."""

    def __init__(self, attempt: int) -> None:
        super().__init__(f"attempt {attempt}", delay=0.01)


def api(payload: Payload[Any]) -> None:
    raise ApiError(503, f"attempt {payload.attempt}")


def api_with_object(payload: Payload[Any]) -> None:
    error = ApiError(503, f"attempt {payload.attempt}")
    error.args = (error.args[0], object())
    raise error


def unimported(payload: Payload[Any]) -> None:
    """Raise an exception of a class that the program does not know, of a base that it knows."""
    raise type("Gone", (ApiError,), {"__module__": "a_module_of_the_worker"})(410, f"attempt {payload.attempt}")


def own_later(payload: Payload[Any]) -> None:
    raise Later(payload.attempt)


FAILURES = {
    "refuse": refuse,
    "api": api,
    "api with object": api_with_object,
    "unimported": unimported,
    "own later": own_later,
    "later": later,
    "soon": soon,
    "reject": reject,
    "mistake": mistake,
    "die": die,
    "die once": die_once,
}


def wait_for(payload: Payload[Any], ctx: Context) -> Any:
    """Make the file, and stay until there is another; both are in the payload."""
    begun, release = payload.value
    Path(begun).touch()
    while not Path(release).exists():
        time.sleep(0.005)
    return payload.attempt


async def wait_for_async(payload: Payload[Any], ctx: Context) -> Any:
    begun, release = payload.value
    Path(begun).touch()
    while not Path(release).exists():
        await asyncio.sleep(0.005)
    return payload.attempt


def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def echo_async(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value
