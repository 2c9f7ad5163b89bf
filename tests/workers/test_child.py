"""The worker's side, without a process: what it leaves safe whatever handlers do to its socket."""

import os
import socket
import threading
import time

from event_collector_workers.child.inbox import Inbox
from event_collector_workers.child.workplace import Workplace
from event_collector_workers.transport.frames import Kind, Outcome, decode_records, message
from event_collector_workers.transport.page import ParentPage, WorkerPage, create_page_file


def test_messages_are_read_after_short_waits_and_long_ones() -> None:
    """A worker polls before it blocks when the last wait was short; all messages come, and it says when it is idle."""
    ours, theirs = socket.socketpair()
    inbox, turns = Inbox(theirs), []
    answers = threading.Thread(target=_answer, args=(ours, [0.0, 0.0, 0.05, 0.0, 0.05, 0.05]))
    answers.start()
    for number in range(6):
        kind, head, _ = inbox.next(lambda: turns.append(number))
        assert (kind, head) == (Kind.JOBS, b"%d" % number)
        theirs.sendall(b"next")
    answers.join()
    assert turns, "it never was idle, although messages came 50 ms after it had asked for them"
    ours.close()
    theirs.close()


def _answer(connection: socket.socket, pauses: list[float]) -> None:
    for number, pause in enumerate(pauses):
        time.sleep(pause)
        connection.sendall(message(Kind.JOBS, b"%d" % number))
        connection.recv(4)


class ClosesTheSocket:
    """A task whose first job closes the worker's socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def run(self, body: bytes | memoryview, blob: bytes | None) -> tuple[bytes, None]:
        self.connection.close()
        return bytes(body), None

    def close(self) -> None:
        """Nothing to close."""


def test_a_job_does_not_pay_for_a_socket_that_the_one_before_has_closed() -> None:
    """It has begun when the result before it cannot be announced: it runs, and both results are in the page."""
    fd = create_page_file()
    parent, page = ParentPage(fd), WorkerPage(fd)
    ours, theirs = socket.socketpair()
    workplace, task = Workplace(theirs, Inbox(theirs), page), ClosesTheSocket(theirs)
    workplace.run(1, task, b"first", None)
    workplace.run(2, task, b"second", None)
    assert parent.arrive()
    records = decode_records(*parent.take())
    assert [(number, outcome, body) for number, outcome, _, body in records] == [
        (1, Outcome.DONE, b"first"),
        (2, Outcome.DONE, b"second"),
    ]
    parent.close()
    page.close()
    ours.close()
    os.close(fd)
