"""What an import leaves in a process that its forks would share."""

import asyncio
import contextlib
import mmap
import os
import select
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from event_collector_workers.launch.inheritance import Inheritance

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def connected() -> list[socket.socket]:
    """Return both ends of a connection to a port of this machine."""
    client, server = socket.socket(), socket.create_server(("127.0.0.1", 0))
    client.connect(server.getsockname())
    return [client, server]


def mapped(folder: Path) -> mmap.mmap:
    """Return a file that is mapped into memory, as numpy.memmap does."""
    path = folder / "data"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 4096)


@pytest.mark.parametrize(
    ("opening", "text"),
    [
        (lambda _: list(socket.socketpair()), "it opens a socket and 1 more"),
        (lambda _: connected(), "it opens a socket to 127.0.0.1 port "),
        (lambda folder: (folder / "log").open("a"), "it opens the file "),
        (lambda folder: sqlite3.connect(folder / "database"), "it opens the file "),
        (lambda _: select.epoll(), "it opens an epoll"),
        (lambda _: asyncio.new_event_loop(), "it opens an epoll and 2 more"),
        (lambda _: [os.fdopen(fd) for fd in os.pipe()], "it opens a pipe and 1 more"),
        (lambda _: os.fdopen(os.eventfd(0)), "it opens a descriptor (eventfd)"),
        (lambda folder: os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR), "r+b"), "it opens the file "),
        (mapped, "it opens the file "),
        (lambda _: mmap.mmap(-1, 4096), "it maps memory that processes share ("),
        (lambda _: get_context("fork").Array("b", 32 << 20), "it opens the file "),  # too large for memory there is
        (lambda _: get_context("fork").SimpleQueue(), "it opens a pipe and 1 more"),
    ],
)  # fmt: skip
@LINUX
def test_what_processes_must_not_share_is_named(opening: Callable[[Path], Any], text: str, tmp_path: Path) -> None:
    """Descriptors of every kind, also inside of another object, and memory."""
    before = Inheritance()
    opened = opening(tmp_path)
    try:
        found = before.addition()
        assert found is not None
        assert found.startswith(text)
    finally:
        for one in opened if isinstance(opened, list) else [opened]:
            with contextlib.suppress(AttributeError):
                one.close()


@pytest.mark.parametrize(
    "opening",
    [
        lambda _: open(os.devnull, "w"),
        lambda _: open("/dev/urandom", "rb"),
        lambda _: mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE),
        lambda _: get_context("fork").Lock(),
        lambda folder: (folder / "text").write_text("closed"),
        lambda _: tempfile.gettempdir(),
    ],
    ids=["null", "urandom", "private memory", "lock", "closed file", "nothing"],
)
def test_what_processes_may_share_is_not_named(opening: Callable[[Path], Any], tmp_path: Path) -> None:
    """The null device, the source of random bytes, locks that are made to be shared, and what was closed again."""
    before = Inheritance()
    opened = opening(tmp_path)
    try:
        assert before.addition() is None
    finally:
        with contextlib.suppress(AttributeError):
            opened.close()


THREADS = """
import threading, sys
from concurrent.futures import ThreadPoolExecutor
from event_collector_workers.launch.inheritance import Inheritance
before = Inheritance()
with ThreadPoolExecutor(2) as executor:
    list(executor.map(abs, range(10)))
print(before.addition())
threading.Thread(target=threading.Event().wait, name="heartbeat", daemon=True).start()
print(before.addition())
"""


@LINUX
def test_a_thread_is_named_and_one_that_has_ended_is_not() -> None:
    """A thread that was joined may take an instant to be gone."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["None", "it starts a thread, 'heartbeat'"]
