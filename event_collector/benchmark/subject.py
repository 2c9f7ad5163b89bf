"""A process that measures one contender, seen from the one that asks it."""

import os
import selectors
import subprocess
import tempfile
from collections.abc import Sequence
from time import monotonic
from typing import TypeVar

import msgspec

from event_collector.benchmark.figures import Contender, Opening, Order, Round
from event_collector.benchmark.trial import SubjectFailed

__all__ = ["Assignment", "SubjectProcess"]

T = TypeVar("T")

CLOSING = 5.0
"""Seconds the process may take to end its queue."""


class Assignment(msgspec.Struct):
    """What such a process is told first."""

    target: str
    """MODULE:OBJECT."""
    contender: Contender
    lines: list[str]
    """The payloads, as JSON."""
    loop: str


class SubjectProcess:
    """The process, from its start on.

    It has a session of its own, so that Ctrl-C reaches only the one that asks, who ends it.

    Args:
        command: what starts it.
        assignment: what it measures.
        timeout: seconds until it must be ready.

    Raises:
        SubjectFailed: it cannot measure that.

    """

    def __init__(self, command: Sequence[str], assignment: Assignment, timeout: float) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long-lived as the process
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise SubjectFailed("its process has no pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._begun = bytearray()
        try:
            self._send(assignment)
            self.opening = self._receive(Opening, timeout)
            if self.opening.refusal is not None:
                raise SubjectFailed(self.opening.refusal)
        except BaseException:
            self.close(at_once=True)
            raise

    def round(self, order: Order, timeout: float) -> Round:
        """Run one round; see `trial.Subject`."""
        self._send(order)
        return self._receive(Round, timeout)

    def close(self, *, at_once: bool = False) -> None:
        """End it; its queue first, unless it is to end at once. Idempotent."""
        self._stdin.close()  # which asks it to end
        try:
            self._process.wait(0.0 if at_once else CLOSING)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its workers notice
            self._process.wait()
        self._stdout.close()
        self._errors.close()

    def _send(self, message: msgspec.Struct) -> None:
        try:
            view = memoryview(msgspec.json.encode(message) + b"\n")
            while view:
                view = view[os.write(self._stdin.fileno(), view) :]
        except BrokenPipeError:
            raise SubjectFailed(self._end()) from None

    def _receive(self, kind: type[T], timeout: float) -> T:
        deadline = monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._begun:
                if not selector.select(max(0.0, deadline - monotonic())):
                    self._process.kill()
                    raise SubjectFailed(
                        f"an event or the start took longer than the {timeout:.0f} s that were left"
                    )
                data = os.read(self._stdout.fileno(), 65536)
                if not data:
                    raise SubjectFailed(self._end())
                self._begun += data
        line, _, self._begun = self._begun.partition(b"\n")
        return msgspec.json.decode(line, type=kind)

    def _end(self) -> str:
        """Return how the process ended, with the last line that it printed."""
        status = self._process.wait()
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"its process ended {how}{': ' + last if last else ''}"
