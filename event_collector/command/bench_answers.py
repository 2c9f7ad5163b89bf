"""What the process that measures one contender answers."""

import asyncio
import itertools
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from event_collector.benchmark.figures import Opening, Order
from event_collector.benchmark.rig import Rig
from event_collector.benchmark.subject import Assignment
from event_collector.command.files import take_standard_streams
from event_collector.command.loops import loop_factory
from event_collector.command.ndjson import Line, LineDecoder
from event_collector.command.target import collector_of, find
from event_collector.command.usage import UsageError
from event_collector.handlers.collector import common_payload_type
from event_collector.values.errors import ConfigError

__all__ = ["Values", "answer_all"]


class Values:
    """Values for payloads: those of the lines, again and again, decoded anew each time.

    Args:
        lines: JSON, at least one.
        line_type: what they are decoded into.

    """

    def __init__(self, lines: Sequence[str], line_type: Any) -> None:
        encoded = [Line(number, line.encode(), len(line)) for number, line in enumerate(lines, 1)]
        self._decoder = LineDecoder(line_type, sys.maxsize)
        self._lines = itertools.cycle(encoded)

    def __call__(self, number: int) -> list[Any]:
        """Return the next ones."""
        return [self._decoder(line) for line in itertools.islice(self._lines, number)]


def answer_all() -> int:
    """Take the assignment, then the orders; return the exit status."""
    stdin, stdout = take_standard_streams()
    if stdin is None:
        return 2
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # what handlers print is of no interest, and there may be a lot of it
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the rest of the program
    with open(stdin, "rb") as orders, open(stdout, "wb", buffering=0) as answers:
        assignment = msgspec.json.decode(orders.readline(), type=Assignment)
        with asyncio.Runner(loop_factory=loop_factory(assignment.loop)) as runner:
            _answer(runner, assignment, orders, answers)
    return 0


def _answer(runner: asyncio.Runner, assignment: Assignment, orders: BinaryIO, answers: BinaryIO) -> None:
    try:
        rig = runner.run(_make_rig(assignment))
        opening = runner.run(rig.open())
    except (ConfigError, UsageError) as exc:
        _tell(answers, Opening(refusal=str(exc)))
        return
    except Exception as exc:
        _tell(answers, Opening(refusal=f"it cannot start: {type(exc).__name__}: {exc}"))
        return
    _tell(answers, opening)
    try:
        for line in orders:
            _tell(answers, runner.run(rig.round(msgspec.json.decode(line, type=Order))))
    finally:
        runner.run(rig.close())


async def _make_rig(assignment: Assignment) -> Rig:
    given = await collector_of(find(assignment.target), assignment.target)
    return Rig(given, assignment.contender, Values(assignment.lines, common_payload_type([given])))


def _tell(answers: BinaryIO, message: msgspec.Struct) -> None:
    view = memoryview(msgspec.json.encode(message) + b"\n")
    while view:
        view = view[answers.write(view) or 0 :]
