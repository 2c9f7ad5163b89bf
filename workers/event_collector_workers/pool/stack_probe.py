"""The stacks of one worker: those it leaves when it crashes, and those it is asked for."""

import asyncio
import contextlib
import faulthandler
import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

from event_collector_workers.child import stack_writer, workplace
from event_collector_workers.machine.scheduler import cpu_seconds
from event_collector_workers.stack_dumps import StackDump, crash_in, hide_files, is_complete, read_dump, skip_files
from event_collector_workers.transport.stack_file import StackFile

PATIENCE: Final = 0.5
"""Seconds that a worker may take to write its stacks. It takes less than a millisecond of a CPU, in native code too; a
stopped process never does."""
CALM: Final = 0.05
"""Seconds, and seconds of CPU time, in which a worker that runs Python code answers. Another one is in native code,
or stopped."""
_POLL: Final = 0.002  # seconds between two looks at the file

hide_files(workplace.__file__)
skip_files(stack_writer.__file__)


class _Request:
    """A request for the stacks of a process: between two bytecodes at first, then at once if it is in native code."""

    def __init__(self, file: StackFile, pid: int) -> None:
        self._file, self._pid, self._cpu = file, pid, cpu_seconds(pid) or 0.0
        self._urgent_at, self.deadline = monotonic() + CALM, monotonic() + PATIENCE
        self._is_urgent = False

    def insist(self) -> None:
        """Ask for them at once, if the process has had the time to answer."""
        if self._is_urgent or monotonic() < self._urgent_at or self._waits_for_cpu():
            return
        self._is_urgent = True
        self._file.ask(self._pid, at_once=True)

    def _waits_for_cpu(self) -> bool:
        """Return whether the process would run, but has had too little of a CPU on a busy machine."""
        if (cpu_seconds(self._pid) or 0.0) - self._cpu >= CALM:
            return False
        try:
            with open(f"/proc/{self._pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] == b"R"
        except (OSError, IndexError):
            return False


class StackProbe:
    """Asks a worker for its stacks without blocking the loop. It takes over the descriptor `fd` of the worker's page.

    All fields belong to the loop's thread. `take_blocking()` is for other threads and uses the file only, which has a
    lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._file = StackFile(fd)
        self._waiters: list[Callable[[StackDump], None]] = []
        self._seen = b""
        self._request: _Request | None = None

    def __repr__(self) -> str:
        return f"<StackProbe asked={bool(self._waiters)} {self._file!r}>"

    def take(self, pid: int | None, on_stack: Callable[[StackDump], None]) -> None:
        """Call `on_stack` with the stacks of the process, within PATIENCE; with none of them if it does not answer.

        The call is made at once if the process cannot be asked.
        """
        self._waiters.append(on_stack)
        if len(self._waiters) > 1:
            return
        if pid is None or not self._file.ask(pid):
            self._answer(b"")
            return
        self._seen, self._request = b"", _Request(self._file, pid)
        self._loop.call_later(_POLL, self._poll)

    def take_blocking(self, pid: int | None) -> StackDump:
        """Return the stacks of the process, in another thread than the loop's; none if it does not answer."""
        seen = b""
        if pid is not None and self._file.ask(pid):
            request = _Request(self._file, pid)
            while monotonic() < request.deadline:
                sleep(_POLL)
                before, seen = seen, self._file.read()
                if seen == before and is_complete(seen):
                    break
                if not seen:
                    request.insist()
            self._file.forget()
        return read_dump(seen)

    def crash(self) -> str:
        """Return the stacks of a process that has crashed; empty if it has ended otherwise.

        A program that has enabled faulthandler expects them in its standard error, too.
        """
        dump = crash_in(self._file.read())
        if dump and faulthandler.is_enabled():
            with contextlib.suppress(OSError):
                os.write(2, dump)
        return read_dump(dump).text

    def end(self) -> None:
        """Answer those who wait: the process has ended."""
        self._answer(self._file.read())

    def close(self) -> None:
        """Answer those who wait, and close the file. Idempotent."""
        self.end()
        self._file.close()

    def _poll(self) -> None:
        request = self._request
        if not self._waiters or request is None:
            return
        before, self._seen = self._seen, self._file.read()
        is_written = self._seen == before and is_complete(self._seen)
        if is_written or monotonic() >= request.deadline:
            self._file.forget()
            self._answer(self._seen)
            return
        if not self._seen:
            request.insist()
        self._loop.call_later(_POLL, self._poll)

    def _answer(self, data: bytes) -> None:
        waiters, self._waiters = self._waiters, []
        if waiters:
            dump = read_dump(data)
            for on_stack in waiters:
                on_stack(dump)
