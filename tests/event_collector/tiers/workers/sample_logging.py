"""Handlers that log, print and warn, as each event says."""

import ctypes
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from event_collector import Context

log = logging.getLogger("sample.logging")
slog = structlog.get_logger("sample.structlog")

log.addHandler(logging.StreamHandler(sys.stderr))  # as the program has it: a worker leaves it to the program


class Odd:
    """Has no repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def say(what: str) -> int:
    """Do what the event says, and return the pid."""
    ACTIONS[what]()
    return os.getpid()


def greet() -> None:
    log.info("hello %s", "world", extra={"number": 7, "odd": Odd(), "when": [1, 2]})


def fail() -> None:
    try:
        raise ValueError("within")
    except ValueError:
        log.exception("failed")
        slog.exception("failed", number=7)


def log_structured() -> None:
    with structlog.contextvars.bound_contextvars(request="r1"):
        slog.bind(bound=1).info("structured", number=7, odd=Odd())


def log_of_no_interest() -> None:
    log.debug("of no interest")
    slog.debug("of no interest")


def print_lines() -> None:
    print("to stdout", 1)
    print("to stderr", 2, file=sys.stderr)


def break_thread() -> None:
    thread = threading.Thread(target=int, args=("x",), name="broken")
    thread.start()
    thread.join()


def flood() -> None:
    for number in range(5000):
        log.info("line %d %s", number, "x" * 200)


def die() -> None:
    log.error("last words")
    print("last line")
    os._exit(3)


def crash() -> None:
    log.error("last words")
    ctypes.string_at(0)


ACTIONS: dict[str, Callable[[], object]] = {
    "log": greet,
    "debug": log_of_no_interest,
    "exception": fail,
    "structlog": log_structured,
    "print": print_lines,
    "warn": lambda: warnings.warn("careful", UserWarning, stacklevel=1),
    "thread": break_thread,
    "flood": flood,
    "die": die,
    "segv": crash,
}


async def say_async(what: str) -> int:
    """Do the same in a coroutine."""
    return say(what)


@contextmanager
def own_handler(ctx: Context) -> Iterator[None]:
    """Log to a file of the worker's own as well."""
    handler = logging.FileHandler(ctx.path)
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


@contextmanager
def own_configuration(ctx: Context) -> Iterator[None]:
    """Take the records of the worker into its own hands."""
    logging.basicConfig(filename=ctx.path, force=True, level=logging.INFO)
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield
