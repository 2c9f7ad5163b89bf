"""The floor of `stream()`: what its promises cost without a queue.

Two processes and pipes, nothing else. Each value is noted in shared memory before its handler is called, and its
outcome after that, so that a crash would cost this value alone. The program makes a Result of each and hands it out in
an asynchronous loop. Nothing can be cancelled, taken back, timed or seen.
"""

from __future__ import annotations

import asyncio
import mmap
import multiprocessing
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from bench.streams.contestants import WORKERS, consumed
from event_collector import Ok

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from multiprocessing.connection import Connection

    from bench.streams.contestants import Sample
    from bench.streams.work import Work

CHUNK = 4096

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode


def floor(work: Work) -> Sample:
    """Run the values, and return seconds and the CPU time of the program."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(WORKERS)]
    crew = [context.Process(target=_serve, args=(work, theirs), daemon=True) for _, theirs in pipes]
    for process in crew:
        process.start()
    ours = [mine for mine, _ in pipes]
    sample = asyncio.run(consumed(_results(work.values, ours), len(work.values)))
    for pipe, process in zip(ours, crew, strict=True):
        pipe.send_bytes(b"")
        process.join()
    return sample


async def _results(values: list[Any], pipes: list[Connection]) -> AsyncGenerator[Ok[Any], None]:
    chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
    busy: deque[Connection] = deque()

    def give(pipe: Connection) -> None:
        chunk = next(chunks, None)
        if chunk is not None:
            pipe.send_bytes(_encode(chunk))
            busy.append(pipe)

    for pipe in (*pipes, *pipes):  # one chunk runs, one waits
        give(pipe)
    while busy:
        pipe = busy.popleft()
        outcomes = pipe.recv_bytes()
        give(pipe)
        for value in _decode(outcomes):
            yield Ok(value, key="act")


def _serve(work: Work, pipe: Connection) -> None:
    memory = mmap.mmap(-1, 1 << 20)
    words, sheet = memoryview(memory)[:4096].cast("Q"), memoryview(memory)[4096:]
    handler, encode = work.handler, _encode
    while body := pipe.recv_bytes():
        values, end = _decode(body), 0
        for number, value in enumerate(values):
            words[0] = number
            outcome = encode(handler(value))
            start, end = end, end + len(outcome)
            sheet[start:end] = outcome
            words[1] = end
        pipe.send_bytes(b"\xdd" + len(values).to_bytes(4) + bytes(sheet[:end]))
