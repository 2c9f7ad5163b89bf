"""Handlers for the tests of Dask, which say in files what became of them."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from event_collector import Context, Payload
from tests.event_collector.sample_types import Order, Receipt


def count(path: Path | str) -> int:
    """Return how many bytes a file has: each run of a handler adds one."""
    return Path(path).stat().st_size if Path(path).exists() else 0


def note(path: str) -> None:
    with Path(path).open("ab", buffering=0) as file:
        file.write(b"x")


def run(payload: Payload[Any], ctx: Context) -> Any:
    """Note that it runs, and end its worker, or wait, as the payload says."""
    what, path = payload.value
    note(path)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die once" and payload.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(what, float):
        time.sleep(what)
    return payload.attempt


def wait_for(payload: Payload[Any], ctx: Context) -> int:
    """Note that it runs, and return when there is another file."""
    path, until = payload.value
    note(path)
    end = time.monotonic() + 60
    while not Path(until).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return os.getpid()


def take_order(payload: Payload[Order], ctx: Context) -> Receipt:
    return Receipt(payload.value.number * 2)
