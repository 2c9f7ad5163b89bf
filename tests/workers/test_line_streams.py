"""The standard streams of a worker: whole lines leave it, one thread's text never within another's line."""

import os
import threading
from typing import Any

import pytest

from event_collector_workers.child.line_streams import LONGEST, LineFile, _text_file


class Sink:
    """Stands for an outlet."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, body: bytes) -> None:
        self.sent.append(body)


@pytest.fixture
def sink() -> Sink:
    return Sink()


def stream(sink: Any) -> tuple[Any, LineFile]:
    file = LineFile(1, "<stdout>", sink.send)
    return _text_file(file), file


def test_a_line_is_sent_with_its_newline(sink: Sink) -> None:
    """Words that are printed one by one are one line, several lines of one call stay together."""
    out, _ = stream(sink)
    print("one", "two", 3, file=out)
    print("four\nfive", end="", file=out, flush=True)
    print(file=out)
    assert sink.sent == [b"one two 3\n", b"four\n", b"five\n"]


def test_each_thread_has_a_line_of_its_own(sink: Sink) -> None:
    """Half a line of one thread waits for its other half."""
    out, _ = stream(sink)
    out.write("main ")
    thread = threading.Thread(target=print, args=("thread",), kwargs={"file": out})
    thread.start()
    thread.join()
    out.write("ends\n")
    assert sink.sent == [b"thread\n", b"main ends\n"]


def test_the_end_sends_unfinished_lines(sink: Sink) -> None:
    """With a newline, so that the next line does not follow on it. What is written later is sent at once."""
    out, file = stream(sink)
    out.write("unfinished")
    file.end_lines()
    out.write("late")
    assert sink.sent == [b"unfinished\n", b"late"]


def test_text_that_a_carriage_return_overwrites_is_left_out(sink: Sink) -> None:
    """A progress bar is the line that it ends with, and a line may end with CR LF."""
    out, _ = stream(sink)
    for percent in (10, 50, 100):
        out.write(f"\r{percent}%")
    out.write("\n")
    out.buffer.write(b"windows\r")
    out.buffer.write(b"\n")
    assert sink.sent == [b"100%\n", b"windows\r\n"]


def test_a_line_without_end_does_not_fill_the_memory(sink: Sink) -> None:
    """It is sent in pieces."""
    out, _ = stream(sink)
    for _ in range(5):
        out.write("x" * (LONGEST // 2))
    assert [len(each) for each in sink.sent] == [LONGEST // 2 * 3]


def test_bytes_and_odd_characters_are_written(sink: Sink) -> None:
    """`sys.stdout.buffer` goes the same way, and a lone surrogate raises nothing."""
    out, _ = stream(sink)
    out.buffer.write(b"bytes\n")
    print("lone \ud800 surrogate, ä", file=out)
    assert sink.sent == [b"bytes\n", "lone \\ud800 surrogate, ä\n".encode()]


def test_programs_that_a_handler_starts_get_the_descriptor(sink: Sink) -> None:
    """`subprocess.run(..., stdout=sys.stdout)` works as before."""
    out, _ = stream(sink)
    assert out.fileno() == 1
    assert out.isatty() == os.isatty(1)
    assert out.writable()
