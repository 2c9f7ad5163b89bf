"""Where the time of an event goes: bytecodes and calls of each function, per event. Needs Python 3.12.

A count of bytecodes is the same on a busy machine as on a quiet one, so it shows what a change has won when a clock
cannot. What it leaves out is all that C does: allocation, garbage collection, encoding, the kernel.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack
from types import CodeType
from typing import Any
from unittest import mock

from event_collector import Collector, CollectorQueue, EventPublisher, Ok, Payload

Counting = Callable[[int], Coroutine[Any, Any, float]]

PATIENCE = 0.1
"""Seconds of every limit of time: all is some thirty times slower while bytecodes are counted."""


async def no_op(payload: Payload, _ctx: Any) -> Ok:
    """Process nothing."""
    return Ok(payload.value)


async def burst(publisher: EventPublisher, events: int) -> None:
    """Send all, then wait for each."""
    for event in [await publisher.send(Payload(number)) for number in range(events)]:
        await event.wait()


async def one_at_a_time(publisher: EventPublisher, events: int) -> None:
    """Wait for each before the next is sent."""
    for number in range(events):
        await (await publisher.send(Payload(number))).wait()


def with_coroutines(send: Callable[[EventPublisher, int], Awaitable[None]]) -> Counting:
    """Return a coroutine function that counts `send` through a queue of one coroutine collector."""

    async def count(events: int) -> float:
        queue = CollectorQueue([Collector("c", no_op)], logging=False)
        await queue.init_queue()
        try:
            return await counted(lambda: send(queue.get_publisher(), events), events)
        finally:
            await queue.shut_down_queue()

    return count


def through_workers(in_flight: int | None, large: bytes | None = None) -> Counting:
    """Return a coroutine function that counts a burst through worker processes, or events of so many senders.

    What they send is a small dict, or `large`.
    """

    async def count(events: int) -> float:
        from bench.process_tier.contestants import Queue
        from bench.process_tier.handler import VALUE

        async def sender(waiting: Iterator[Any]) -> None:
            for value in waiting:
                await queue.send(value)

        async def send(events: int) -> None:
            values = [VALUE if large is None else large] * events
            if in_flight is None:
                await queue.burst(values)
            else:
                waiting = iter(values)
                await asyncio.gather(*(sender(waiting) for _ in range(in_flight)))

        queue = Queue()
        await queue.start()
        try:
            await send(2000)
            return await counted(lambda: send(events), events)
        finally:
            await queue.stop()

    return count


async def within_a_worker(events: int) -> float:
    """Count what a worker does with jobs that have arrived."""
    import socket

    from bench.process_tier.handler import VALUE, process
    from event_collector.remote.codec import encode_payload
    from event_collector.remote.host import open_host
    from event_collector.remote.setup import seal
    from event_collector_workers.child.workplace import Inbox, Workplace
    from event_collector_workers.transport.page import ParentPage, WorkerPage, create_page_file

    fd = create_page_file()
    ours, theirs = socket.socketpair()
    parent, page = ParentPage(fd), WorkerPage(fd)
    workplace, task = (Workplace(theirs, Inbox(theirs), page), open_host(seal(Collector("c", process, mode="process"))))
    body, _ = encode_payload(Payload(VALUE), "c")
    parent.promise()

    async def work() -> None:
        for number in range(1, events + 1):
            workplace.run(number, task, body, None)
            if number % 200 == 0:
                parent.take()

    total = await counted(work, events)
    parent.close()
    page.close()
    ours.close()
    theirs.close()
    os.close(fd)
    return total


FIGURES: dict[str, Counting] = {
    "burst": with_coroutines(burst),
    "one-at-a-time": with_coroutines(one_at_a_time),
    "process-burst": through_workers(None),
    "process-one-at-a-time": through_workers(1),
    "process-senders-1000": through_workers(1000),
    "process-large": through_workers(2, bytes(100_000)),
    "worker": within_a_worker,
}


async def counted(work: Callable[[], Awaitable[None]], events: int, top: int = 30) -> float:
    """Do the work, print what it took, and return the bytecodes per event."""
    bytecodes: Counter[CodeType] = Counter()
    calls: Counter[CodeType] = Counter()
    monitoring = sys.monitoring
    tool, kinds = monitoring.PROFILER_ID, monitoring.events

    own_thread = threading.get_ident()

    def note_bytecode(code: CodeType, _offset: int) -> None:
        if threading.get_ident() == own_thread:  # the watchdog's thread looks by the clock
            bytecodes[code] += 1

    def note_call(code: CodeType, _offset: int) -> None:
        calls[code] += 1

    monitoring.use_tool_id(tool, __name__)
    try:
        monitoring.register_callback(tool, kinds.INSTRUCTION, note_bytecode)
        monitoring.register_callback(tool, kinds.PY_START, note_call)
        monitoring.set_events(tool, kinds.INSTRUCTION | kinds.PY_START)
        await work()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    print(f"{sum(bytecodes.values()) / events:8.1f} {sum(calls.values()) / events:6.2f}  in all")
    for code, count in bytecodes.most_common(top):
        where = f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"
        print(f"{count / events:8.1f} {calls[code] / events:6.2f}  {code.co_qualname}  ({where})")
    return sum(bytecodes.values()) / events


def count_ours(figures: list[str], events: int) -> dict[str, float]:
    """Count the figures of this library; return the bytecodes per event of each."""
    patient = {
        "event_collector.dispatch.turns.SLICE": PATIENCE,
        "event_collector_workers.pool.credit.SHORTEST_VISIT": PATIENCE / 3,
        "event_collector_workers.pool.credit.USUAL_VISIT": PATIENCE / 3,
        "event_collector_workers.pool.credit.LONGEST_VISIT": PATIENCE / 3,
        "event_collector_workers.pool.credit.HELD_UP": PATIENCE,
        "event_collector_workers.pool.roster.HELD_UP": PATIENCE,
    }
    with ExitStack() as stack:
        # The monitor looks by the clock, which all of this makes meaningless.
        stack.enter_context(mock.patch("event_collector.sizing.control_loop.ControlLoop._look", return_value=None))
        for name, seconds in patient.items():
            stack.enter_context(mock.patch(name, seconds))
        return count(figures, events)


def count(figures: list[str], events: int) -> dict[str, float]:
    """Count the figures of the library that can be imported."""
    totals = {}
    for figure in figures:
        print(f"\n{figure}: bytecodes and calls an event")
        totals[figure] = asyncio.run(FIGURES[figure](events))
    return totals


def main() -> None:
    """Count the figures that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.bytecodes", description=__doc__)
    parser.add_argument("figures", nargs="+", choices=[*FIGURES, "all"], help=f"{', '.join(FIGURES)}, or all")
    parser.add_argument("--events", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--existing", action="store_true", help="of the existing library, which has no processes")
    arguments = parser.parse_args()
    figures = list(FIGURES) if "all" in arguments.figures else arguments.figures
    if sys.version_info < (3, 12):
        sys.exit("python -m bench.bytecodes needs Python 3.12, which can count bytecodes")
    if not arguments.existing:
        count_ours(figures, arguments.events)
        return
    from bench.interpreters import existing_library

    # As a script, it finds the library of that interpreter and not this one.
    command = [existing_library(), __file__, *(figure for figure in figures if figure in ("burst", "one-at-a-time"))]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command += ["--events", str(arguments.events)]
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    if __package__:
        main()
    else:
        count(sys.argv[1:-2], int(sys.argv[-1]))
