"""The outlet of a worker: its records arrive whole and in order, and one that nobody reads stops nobody for long."""

import os
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from event_collector_workers.transport import outlet as outlets
from event_collector_workers.transport.outlet import LARGEST, Outlet, OutletReader, Output

Record = tuple[int, int, bytes]


class Pipe:
    """Both sides of an outlet, in one process."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.sent: list[int] = []
        self.intake = OutletReader(lambda *record: self.records.append(record))
        self.outlet = Outlet(self.intake.writer, self.sent.append)

    def received(self) -> list[Record]:
        self.intake.receive()
        return self.records


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    """An outlet that gives up at once when the pipe is full."""
    monkeypatch.setattr(outlets, "PATIENCE", 0.0)
    both = Pipe()
    yield both
    both.intake.close()


def test_records_arrive_whole_and_in_order(pipe: Pipe) -> None:
    """An empty one, a small one, and one of many parts; each announced with a number of its own."""
    bodies = [b"", b"small", os.urandom(30_000), b"last"]
    for body in bodies:
        pipe.outlet.send(Output.LOG, body)
    assert pipe.received() == [(os.getpid(), Output.LOG, body) for body in bodies]
    assert len(set(pipe.sent)) == len(bodies)


def test_what_is_too_large_is_cut_off(pipe: Pipe) -> None:
    """A record has at most LARGEST bytes, for which the reader must make room while it is sent."""
    reading = threading.Thread(target=lambda: [pipe.received() for _ in iter(lambda: not pipe.records, False)])
    reading.start()
    outlets_patience, outlets.PATIENCE = outlets.PATIENCE, 30.0
    try:
        pipe.outlet.send(Output.LOG, bytes(LARGEST + 1))
    finally:
        outlets.PATIENCE = outlets_patience
    reading.join()
    assert [len(body) for _, _, body in pipe.records] == [LARGEST]


def test_threads_need_no_lock(pipe: Pipe) -> None:
    """The parts of records from several threads mix in the pipe, and each record arrives whole."""
    bodies = [bytes([number]) * 9000 for number in range(4)]
    threads = [threading.Thread(target=pipe.outlet.send, args=(Output.LOG, body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(body for _, _, body in pipe.received()) == bodies


def test_a_fork_sends_under_its_own_pid(pipe: Pipe) -> None:
    """A process that a handler forks shares the pipe, without harm to the worker's records."""
    pid = os.fork()
    if not pid:
        pipe.outlet.send(Output.LOG, b"child" * 2000)
        os._exit(0)
    pipe.outlet.send(Output.LOG, b"parent" * 2000)
    os.waitpid(pid, 0)
    assert sorted(pipe.received()) == sorted(
        [(pid, Output.LOG, b"child" * 2000), (os.getpid(), Output.LOG, b"parent" * 2000)]
    )


def test_drops_are_counted_and_reported_before_the_next_record(pipe: Pipe) -> None:
    """A full pipe holds what it has. The rest is dropped, and its number is the first to arrive when there is room."""
    sent = 1000
    for number in range(sent):
        pipe.outlet.send(Output.LOG, str(number).encode() * 100)
    kept = len(pipe.received())
    assert 0 < kept < sent
    pipe.outlet.send(Output.LOG, b"again")
    assert pipe.received()[kept:] == [
        (os.getpid(), Output.DROPPED, str(sent - kept).encode()),
        (os.getpid(), Output.LOG, b"again"),
    ]


def test_a_worker_waits_once_for_a_program_that_does_not_read(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it has waited in vain, it drops records at once until there is room again."""
    monkeypatch.setattr(outlets, "PATIENCE", 5.0)
    waits: list[float] = []
    real_wait = outlets._wait

    def wait(fd: int, seconds: float) -> bool:
        waits.append(seconds)
        return real_wait(fd, 0.0)

    monkeypatch.setattr(outlets, "_wait", wait)
    for times in (1, 2):
        for _ in range(1000):
            pipe.outlet.send(Output.LOG, bytes(1000))
        assert len([seconds for seconds in waits if seconds]) == times
        pipe.received()


def test_nothing_is_written_to_a_file_that_has_taken_the_number() -> None:
    """A handler that closes all descriptors, and opens a file, has nothing of the log in that file."""
    both = Pipe()
    reader, writer = os.pipe()
    os.dup2(writer, both.intake.writer)
    both.outlet.send(Output.LOG, b"record")
    both.intake.close_writer()
    os.close(writer)
    assert os.read(reader, 100) == b""
    os.close(reader)
    both.intake.close()


def test_foreign_bytes_end_the_reading(pipe: Pipe) -> None:
    """What is no part of a record is not searched for one."""
    pipe.outlet.send(Output.LOG, b"record")
    os.write(pipe.intake.writer, b"\xff" * 100)
    pipe.outlet.send(Output.LOG, b"record")
    assert [body for _, _, body in pipe.received()] == [b"record"]
    assert pipe.intake.is_closed


def test_the_end_of_the_worker_is_seen(pipe: Pipe) -> None:
    """When nobody can write any more, the intake has nothing to watch."""
    pipe.outlet.send(Output.LOG, b"last words")
    pipe.intake.close_writer()
    assert [body for _, _, body in pipe.received()] == [b"last words"]
    assert pipe.intake.is_closed


def test_numbers_only_grow(pipe: Pipe) -> None:
    """The parent tells by a number that differs from the last one that there is something to read."""
    for _ in range(10):
        pipe.outlet.send(Output.LOG, b"line\n")
    assert all(earlier < later for earlier, later in pairwise(pipe.sent))
