"""The worker's side, without a process: what it leaves safe whatever handlers do to its socket."""

import os
import socket

from event_collector_workers.child import Host, Inbox
from event_collector_workers.page import ParentPage, WorkerPage, create_page_file
from event_collector_workers.wire import Outcome, decode_records


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
    host, task = Host(theirs, Inbox(theirs), page), ClosesTheSocket(theirs)
    host.run(1, task, b"first", None)
    host.run(2, task, b"second", None)
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
