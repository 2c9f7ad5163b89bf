"""Stacks of workers: after a crash, and before a worker is killed for the time of its job."""

import asyncio
import faulthandler
import multiprocessing
import os
from pathlib import Path

import pytest

from event_collector_workers import JobTimeout, ScaledProcessPoolExecutor, WorkerCrashed
from event_collector_workers.stack_dumps import LONGEST, crash_in, is_complete, read_dump
from event_collector_workers.transport.page import create_page_file
from event_collector_workers.transport.stack_file import STACK_AT, STACK_SIZE, StackFile
from tests.workers import ends
from tests.workers.ends import crash_after_a_fork, crash_with_own_file, do_nothing, end_by, recur
from tests.workers.pools import BOUND, call, running, until

DUMP = b"""Fatal Python error: Segmentation fault

Thread 0x00000001 (most recent call first):
  File "/lib/threading.py", line 992 in run
  File "/lib/threading.py", line 1012 in _bootstrap

Current thread 0x00000002 [worker] (most recent call first):
  File "/app/deep.py", line 7 in inner
  File "/app/deep.py", line ??? in odd
  File "/app/deep.py", line 3 in outer
  File "<string>", line 1 in <module>
"""


def error_of(function: object, *arguments: object, start_method: str | None = None, timeout: float = 60.0) -> object:
    """Return the error of a call in a worker, which comes soon."""
    context = None if start_method is None else multiprocessing.get_context(start_method)
    with ScaledProcessPoolExecutor(1, context) as executor:
        executor.submit(do_nothing).result(BOUND)  # the module is imported
        return executor.submit_with_timeout(timeout, function, *arguments).exception(BOUND)


@pytest.mark.parametrize("start_method", [None, "spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_crash_leaves_its_stack_with_every_start_method(start_method: str | None) -> None:
    """The error has the stack from the first frame of the call on, as a note and as an attribute."""
    error = error_of(end_by, "segv", start_method=start_method)
    assert isinstance(error, WorkerCrashed)
    lines = [line.strip() for line in error.stack.splitlines()]
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'File "{ends.__file__}"')
    assert lines[1].endswith("in end_by")
    assert lines[2] == "ctypes.string_at(0)"
    assert error.stack in error.__notes__[0]


@pytest.mark.parametrize("kind", ["abort", "native abort", "overflow", "fpe", "bus"])
def test_every_fatal_signal_leaves_a_stack(kind: str) -> None:
    """Aborts, also those of native code, floating-point and bus errors, and a C stack that has overflown."""
    error = error_of(end_by, kind)
    assert isinstance(error, WorkerCrashed)
    assert "in end_by" in error.stack


@pytest.mark.parametrize("kind", ["exit", "kill"])
def test_other_ends_have_no_stack(kind: str) -> None:
    """A process that ends at once, by itself or by SIGKILL, cannot tell where it was."""
    error = error_of(end_by, kind)
    assert isinstance(error, WorkerCrashed)
    assert (error.stack, hasattr(error, "__notes__")) == ("", False)


@pytest.mark.parametrize("kind", ["sleep", "native sleep", "native sleep that holds the GIL"])
def test_a_timeout_names_the_line(kind: str) -> None:
    """The stack is taken first, in native code too, which cannot turn the timeout into a result."""
    error = error_of(end_by, kind, timeout=0.3)
    assert isinstance(error, JobTimeout)
    assert "in end_by" in error.stack
    assert error.place in str(error)
    assert error.place.startswith(f"end_by() at {ends.__file__}:")


def test_the_deepest_frames_of_a_recursion_are_enough() -> None:
    """faulthandler writes 100 frames of a thread, and does not mark the end."""
    error = error_of(recur, 500, timeout=0.3)
    assert isinstance(error, JobTimeout)
    assert error.place.startswith(f"recur() at {ends.__file__}:")


async def test_a_worker_that_runs_python_code_survives_each_request() -> None:
    """faulthandler crashes a process whose frames change meanwhile, as those of generators do all the time."""
    async with running(1) as pool:
        job = call(pool, "evaluate sum(number for number in iter(int, 1))")
        pid = pool.statistics().workers[0].pid
        await until(lambda: pool.statistics().workers[0].job_seconds > 0)
        texts = [(await asyncio.to_thread(pool.stacks, pid))[0][2] for _ in range(300)]
        assert sum("in evaluate" in text for text in texts) > 100  # a busy machine may be late
        assert not job.outcomes
        await pool.abort()


def test_a_stopped_worker_is_killed_without_a_stack() -> None:
    """The wait for the stack is bounded."""
    error = error_of(end_by, "stop", timeout=0.3)
    assert isinstance(error, JobTimeout)
    assert (error.stack, error.place) == ("", "")


def test_code_that_enables_faulthandler_in_the_worker_has_its_dumps(tmp_path: Path) -> None:
    """There is one faulthandler in a process: the last file wins."""
    error = error_of(crash_with_own_file, str(tmp_path / "dump"))
    assert isinstance(error, WorkerCrashed)
    assert error.stack == ""
    assert "in crash_with_own_file" in (tmp_path / "dump").read_text()


def test_a_fork_of_the_worker_leaves_no_stack_in_its_place() -> None:
    """The stack of a process that a handler forks is not taken for that of the worker."""
    error = error_of(crash_after_a_fork)
    assert isinstance(error, WorkerCrashed)
    assert error.stack == ""


def test_dumps_are_read() -> None:
    """The thread that crashed comes first, oldest frame first; frames without a line are left out."""
    dump = read_dump(crash_in(b"rest of an earlier one\n" + DUMP))
    lines = [line for line in dump.text.splitlines() if not line.startswith("    ")]
    assert lines == [
        "Traceback (most recent call last):",
        '  File "<string>", line 1, in <module>',
        '  File "/app/deep.py", line 3, in outer',
        '  File "/app/deep.py", line 7, in inner',
        "Thread 0x00000001:",
        '  File "/lib/threading.py", line 1012, in _bootstrap',
        '  File "/lib/threading.py", line 992, in run',
    ]
    assert dump.place == "inner() at /app/deep.py:7"
    assert is_complete(DUMP)
    assert not is_complete(DUMP[:-20])
    assert crash_in(DUMP[40:]) == b""
    assert read_dump(b"") == ("", "")


def test_texts_are_bounded() -> None:
    """A dump of very many frames becomes a text of bounded size."""
    frames = b"".join(b'  File "/app/%d.py", line %d in f%d\n' % (n, n, n) for n in range(5000))
    dump = read_dump(b"Current thread 0x1 (most recent call first):\n" + frames)
    assert LONGEST < len(dump.text) < LONGEST + 100


def test_what_faulthandler_writes_is_bounded() -> None:
    """It cannot write beyond the end of the file, and earlier stacks are replaced."""
    file = StackFile(create_page_file())
    writer = os.dup(file._file.fileno())
    try:
        faulthandler.dump_traceback(writer)
        assert b"test_what_faulthandler_writes_is_bounded" in file.read()
        if hasattr(os, "memfd_create"):
            os.lseek(writer, STACK_AT + STACK_SIZE - 50, os.SEEK_SET)
            faulthandler.dump_traceback(writer)
            assert os.fstat(writer).st_size == STACK_AT + STACK_SIZE
        file.forget()
        assert file.read() == b""
    finally:
        os.close(writer)
        file.close()
    assert (file.read(), file.ask(os.getpid())) == (b"", False)
