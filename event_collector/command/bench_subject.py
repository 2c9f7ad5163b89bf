"""The process that measures one contender of `event-collector bench`: its protocol, from both ends.

    parent -- Assignment --> child -- Readiness --> parent, then for each round
    parent -- RoundOrder --> child -- RoundResult --> parent

Messages are JSON, one line each, through the child's standard input and output.
"""

import asyncio
import itertools
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, BinaryIO, TypeVar

import msgspec

from event_collector.benchmark.rig import Rig
from event_collector.benchmark.trial import SubjectFailed
from event_collector.benchmark.trial_figures import Contender, Readiness, RoundOrder, RoundResult
from event_collector.command.lines.ndjson import InputLine, LineDecoder
from event_collector.command.options import UsageError, loop_factory
from event_collector.command.standard_streams import take_standard_streams, write_all
from event_collector.command.target import collector_of, find
from event_collector.handlers.collector import common_payload_type
from event_collector.values.errors import ConfigError

T = TypeVar("T")

# A program without a main module: worker processes would import one again.
COMMAND = (sys.executable, "-c", f"import sys; from {__name__} import serve; sys.exit(serve())")
CLOSING = 5.0  # seconds the process may take to end its queue
TAIL = 2000  # bytes of its standard error that are searched for the last line


class Assignment(msgspec.Struct):
    """The task of a process."""

    target: str  # MODULE:OBJECT
    contender: Contender
    lines: list[str]  # the payloads, as JSON
    loop: str


class SubjectProcess:
    """The parent's end: a `Subject` in its own process, which must be ready within `timeout` seconds.

    The process has its own session: Ctrl-C reaches only the parent, which ends it. The constructor raises
    SubjectFailed if the process cannot measure the contender.
    """

    def __init__(self, assignment: Assignment, timeout: float) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long-lived as the process
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0,
            start_new_session=True,
        )  # fmt: skip
        if self._process.stdin is None or self._process.stdout is None:
            raise SubjectFailed("its process has no pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._received = bytearray()
        try:
            self._send(assignment)
            self.readiness = self._receive(Readiness, timeout)
            if self.readiness.refusal is not None:
                raise SubjectFailed(self.readiness.refusal)
        except BaseException:
            self.close(at_once=True)
            raise

    def round(self, order: RoundOrder, timeout: float) -> RoundResult:
        """Run one round; see `trial.Subject`."""
        self._send(order)
        return self._receive(RoundResult, timeout)

    def close(self, *, at_once: bool = False) -> None:
        """End the process; unless `at_once`, its queue ends first. Idempotent."""
        self._stdin.close()  # the end of its input ends the process
        try:
            self._process.wait(0.0 if at_once else CLOSING)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its workers notice
            self._process.wait()
        self._stdout.close()
        self._errors.close()

    def _send(self, message: msgspec.Struct) -> None:
        try:
            _write_message(self._stdin.fileno(), message)
        except BrokenPipeError:
            raise SubjectFailed(self._describe_end()) from None

    def _receive(self, kind: type[T], timeout: float) -> T:
        deadline = monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, deadline - monotonic())):
                    self._process.kill()
                    raise SubjectFailed(f"an event or the start took longer than the {timeout:.0f} s that were left")
                data = os.read(self._stdout.fileno(), 65536)
                if not data:
                    raise SubjectFailed(self._describe_end())
                self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return msgspec.json.decode(line, type=kind)

    def _describe_end(self) -> str:
        status = self._process.wait()
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - TAIL))
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"its process ended {how}{': ' + last if last else ''}"


def payload_values(lines: Sequence[str], line_type: Any) -> Callable[[int], list[Any]]:
    """Return a function of the next `count` values of the lines, repeated for ever.

    Each value is decoded anew, so that handlers may change it.
    """
    decode = LineDecoder(line_type, sys.maxsize)
    encoded = itertools.cycle([InputLine(number, line.encode(), len(line)) for number, line in enumerate(lines, 1)])
    return lambda count: [decode(line) for line in itertools.islice(encoded, count)]


def serve() -> int:
    """Run the child's end, until its input ends, and return the exit status."""
    stdin, stdout = take_standard_streams()
    if stdin is None:
        return 2
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # drops what handlers print, which may be a lot
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the rest of the program
    with open(stdin, "rb") as orders:
        assignment = msgspec.json.decode(orders.readline(), type=Assignment)
        with asyncio.Runner(loop_factory=loop_factory(assignment.loop)) as runner:
            _measure(runner, assignment, orders, stdout)
    return 0


def _measure(runner: asyncio.Runner, assignment: Assignment, orders: BinaryIO, stdout: int) -> None:
    try:
        rig = runner.run(_make_rig(assignment))
        readiness = runner.run(rig.open())
    except Exception as exc:
        is_refused = isinstance(exc, (ConfigError, UsageError))
        refusal = str(exc) if is_refused else f"it cannot start: {type(exc).__name__}: {exc}"
        _write_message(stdout, Readiness(refusal=refusal))
        return
    _write_message(stdout, readiness)
    try:
        for line in orders:
            _write_message(stdout, runner.run(rig.round(msgspec.json.decode(line, type=RoundOrder))))
    finally:
        runner.run(rig.close())


async def _make_rig(assignment: Assignment) -> Rig:
    collector = await collector_of(find(assignment.target), assignment.target)
    values = payload_values(assignment.lines, common_payload_type([collector]))
    return Rig(collector, assignment.contender, values)


def _write_message(fd: int, message: msgspec.Struct) -> None:
    write_all(fd, msgspec.json.encode(message) + b"\n")
