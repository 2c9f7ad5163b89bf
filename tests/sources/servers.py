"""Servers of brokers for tests, which are skipped where there is none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.brokers.server import NoServer, Server

__all__ = ["Server", "running"]


@contextmanager
def running(make: Callable[[Path], Server], folder: Path) -> Iterator[Server]:
    """Have a server run, with its data in a folder."""
    try:
        server = make(folder)
    except NoServer as exc:
        pytest.skip(str(exc))
    server.start()
    try:
        yield server
    finally:
        server.stop()
