"""Handlers for the tests of chunks, in a module that worker processes can import."""

import asyncio
import contextvars
import os
import signal
import time
from pathlib import Path
from typing import Any

from event_collector import Context, Error, Payload, event_context, progress

mark: contextvars.ContextVar[int] = contextvars.ContextVar("mark")


def note(folder: str, number: int) -> None:
    """Note that the handler has begun with a value, so that a second time would be seen."""
    fd = os.open(os.path.join(folder, "begun"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"%d\n" % number)
    os.close(fd)


def begun(folder: Path) -> list[int]:
    """Return the values that handlers have begun with, in order."""
    path = folder / "begun"
    return sorted(map(int, path.read_text().split())) if path.exists() else []


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.001)


def describe(value: Any) -> str:
    """Return what arrived, after a moment in which more chunks arrive."""
    time.sleep(0.0002)
    return f"{type(value).__name__} {value[0]} {len(value)}"


def act(value: list[Any]) -> Any:
    """Do what `[folder, number, act]` says, and return the number."""
    folder, number, what = value
    note(folder, number)
    if what:
        answer = ACTS[what](Path(folder), number)
        return number if answer is None else answer
    return number


async def act_async(value: list[Any]) -> Any:
    await asyncio.sleep(0)
    return act(value)


def fail_first(value: list[Any]) -> int:
    """Fail in the first attempt, if the value says so."""
    folder, number, what = value
    note(folder, number)
    if what and begun(Path(folder)).count(number) < 2:
        raise LookupError(number)
    return number


def increase(number: int) -> int:
    return number + 1


def increase_wrongly(number: int) -> int:
    return str(number) if number % 10 == 3 else number + 1  # type: ignore[return-value]


def keys_of(payload: Payload[int], _ctx: Context) -> list[Any]:
    return [payload.value, list(payload.keys), payload.delivery.name, payload.attempt]


def event_id(_number: int) -> list[Any]:
    context = event_context()
    return [context["event_id"], context["collector"], context["attempt"], context["worker_pid"] == os.getpid()]


def leak(number: int) -> int:
    """Return what an earlier value has left in a context variable, and leave this one."""
    left = mark.get(-1)
    mark.set(number)
    return left


def size(text: str) -> int:
    return len(text)


def letters(count: int) -> str:
    return "x" * count


def zeros(count: int) -> bytes:
    return bytes(count)


def die(_folder: Path, _number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_folder: Path, _number: int) -> None:
    raise SystemExit(3)


def stay(_folder: Path, _number: int) -> None:
    time.sleep(60)


def wait_for_next(folder: Path, number: int) -> None:
    """Wait until a later value was begun, which only another worker can do."""
    end = time.monotonic() + 60
    while max(begun(folder)) == number:
        assert time.monotonic() < end
        time.sleep(0.001)


def wait_for_go(folder: Path, _number: int) -> None:
    wait_for(folder / "go")


def report(_folder: Path, _number: int) -> None:
    """Take long, and report all the time."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        progress(1)
        time.sleep(0.01)


def slow(_folder: Path, _number: int) -> None:
    time.sleep(0.02)


ACTS: dict[str, Any] = {
    "raise": lambda _, number: {}[number],
    "error": lambda _, number: Error(number),
    "object": lambda _, __: object(),
    "die": die,
    "leave": leave,
    "stay": stay,
    "wait for next": wait_for_next,
    "wait for go": wait_for_go,
    "report": report,
    "slow": slow,
}


def vary(number: int) -> Any:
    """Return results of several kinds, set a context variable, or fail."""
    match number % 5:
        case 1:
            return 2**70 + number
        case 2:
            before = mark.get(None)
            mark.set(number)
            return f"{number}, before: {before}"
        case 3:
            return awaited(number)
        case 4:
            raise KeyError(number)
    return number


async def awaited(number: int) -> int:
    return number
