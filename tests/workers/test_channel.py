"""Reading messages from a stream, whatever the pieces it comes in."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from event_collector_workers.transport.frames import Kind, message
from event_collector_workers.transport.reader import ProtocolError, Reader

messages = st.tuples(
    st.sampled_from(Kind), st.binary(max_size=200), st.none() | st.sampled_from([b"", b"x", bytes(100_000)])
)


def receive(reader: Reader, stream: bytes, sizes: list[int]) -> None:
    """Do as the channel does: into the reader's target if it has one, else anywhere."""
    view, at = memoryview(stream), 0
    while at < len(stream):
        sizes.append(sizes.pop(0))
        part = view[at : at + sizes[-1]]
        if reader.target is None:
            reader.feed(part)
        else:
            part = part[: len(reader.target)]
            reader.target[: len(part)] = part
            reader.filled(len(part))
        at += len(part)


@example([(Kind.LOOK, b"", None), (Kind.STOPPED, b"x", None), (Kind.LOOK, b"", None)], [16])
@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 70_000), min_size=1, max_size=5))
def test_messages_survive_any_cutting(sent, sizes):
    """Heads and blobs arrive whole, in order, however the stream is cut."""
    got = []
    reader = Reader(lambda kind, head, blob: got.append((kind, head, blob)))
    stream = b"".join(
        message(kind, head, -1 if blob is None else len(blob)) + (blob or b"") for kind, head, blob in sent
    )
    if len(stream) > 5000:
        sizes = [size + 500 for size in sizes]
    receive(reader, stream, list(sizes))
    assert got == sent
    reader.close()


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 16, b"Traceback (most recent call last)", message(Kind.LOOK, b"", -2), b"\0" * 64]
)
def test_garbage_is_refused(garbage):
    """What no worker sends raises, whatever lengths it claims, and asks for no memory."""
    with pytest.raises(ProtocolError):
        Reader(lambda *_: None).feed(memoryview(garbage))
