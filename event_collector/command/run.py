"""`event-collector run`: one run, from the import of its target to the exit status."""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

from event_collector.command import logs
from event_collector.command.acknowledgements import Acknowledgements
from event_collector.command.files import Sink, Source, take_standard_streams
from event_collector.command.job import Job
from event_collector.command.loops import loop_factory
from event_collector.command.ndjson import LineDecoder, LineEncoder, LineSplitter, UnknownType
from event_collector.command.progress import make_progress
from event_collector.command.run_options import LINES_AT_ONCE, add_options
from event_collector.command.tally import Tally, ranges
from event_collector.command.target import DEFAULT_QUEUE_SIZE, find, line_type_of, make_queue
from event_collector.command.usage import UsageError
from event_collector.command.window import Window
from event_collector.dask.executor import connected, dask_workers
from event_collector.exceptions import ConfigError, ExecutorLost, JournalError, MonitorError
from event_collector.interruption import Interruption, exit_status
from event_collector.journal.journal import Journal
from event_collector.publisher import CollectorEvent
from event_collector.queue import CollectorQueue

__all__ = ["add_parser"]

T = TypeVar("T")

MAX_BYTES = 32 * 1024 * 1024
"""Bytes of input in the works: they bound the memory when lines are long."""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    add_options(subparsers).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status.

    Raises:
        UsageError: what was asked for cannot work.

    """
    stdin, stdout = take_standard_streams()
    logs.configure(options.log_level)
    factory = loop_factory(options.loop)
    source = Source.open(options.input or "-", stdin)
    found = find(options.target)
    with _cluster(options) as cluster, asyncio.Runner(loop_factory=factory) as runner:
        options.dask = cluster
        return runner.run(_process(options, source, Sink(stdout), found))


@contextlib.contextmanager
def _cluster(options: argparse.Namespace) -> Iterator[Executor | None]:
    """Connect to the Dask cluster that was asked for, and return what a Collector takes."""
    if options.dask is None:
        yield None
        return
    if options.mode is not None:
        raise UsageError("--dask says where the handler runs, and so does --mode: give one of them")
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(connected(options.dask))
        except (ConfigError, ExecutorLost) as exc:
            raise UsageError(f"--dask: {exc}") from None
        yield dask_workers(client)


async def _process(options: argparse.Namespace, source: Source, sink: Sink, found: Any) -> int:
    """Start the queue, process the input, end the queue, tell of it, and return the exit status."""
    interruption = Interruption()
    interruption.install()
    earlier = _EarlierRun()
    journal = _make_journal(options.journal, earlier)
    opened = await _unless_asked(interruption, _open(options, found, journal))
    if opened is None:
        return _status(interruption, failed=True)
    queue, decoder = opened
    acknowledgements = None if journal is None else Acknowledgements(journal)
    job = _make_job(options, queue, source, sink, decoder, acknowledgements)
    _tell_of_earlier_run(earlier.events, quiet=options.quiet)
    earlier.hand_to(job.replay)
    interruption.before_exit = lambda: _leave_at_once(job)
    try:
        await job.run(interruption, options.drain_timeout)
    finally:
        job.progress.close()
        complaint = await _shut_down(queue, acknowledgements)
    job.complaint = job.complaint or complaint
    if not job.reader_gone:
        _tell(queue, job, interruption, quiet=options.quiet)
    unfinished = bool(job.tally.unfinished) and not job.reader_gone
    return _status(interruption, failed=bool(job.tally.failed or job.complaint or unfinished))


class _EarlierRun:
    """Takes events that an earlier run has left in the journal: those of the start, and what comes one by one."""

    def __init__(self) -> None:
        self.events: list[CollectorEvent] = []
        self._take: Callable[[list[CollectorEvent]], None] | None = None

    def add(self, event: CollectorEvent) -> None:
        """It runs again."""
        if self._take is None:
            self.events.append(event)
        else:
            self._take([event])

    def hand_to(self, take: Callable[[list[CollectorEvent]], None]) -> None:
        """Have all events taken, from now on at once."""
        self._take = take
        take(self.events)
        self.events = []


def _make_journal(path: str | None, earlier: _EarlierRun) -> Journal | None:
    """Return the journal of this run."""
    if path is None:
        return None
    try:
        return Journal(path, acknowledge=True, on_replay=earlier.add)
    except ConfigError as exc:
        raise UsageError(f"--journal: {exc}") from None


async def _open(
    options: argparse.Namespace, found: Any, journal: Journal | None
) -> tuple[CollectorQueue, LineDecoder] | None:
    """Make the queue and start it; None, having said why, when it does not start."""
    try:
        queue = await make_queue(found, options.target, {**vars(options), "journal": journal})
        decoder = LineDecoder(line_type_of(queue.collectors.values()), options.max_line_bytes)
        await queue.init_queue()
    except (ConfigError, JournalError, MonitorError, UnknownType) as exc:
        raise UsageError(str(exc)) from None
    except UsageError:
        raise
    except Exception as exc:
        _say(f"the queue cannot start: {type(exc).__name__}: {exc}")
        return None
    return queue, decoder


async def _unless_asked(interruption: Interruption, opening: Coroutine[Any, Any, T]) -> T | None:
    """Return what `opening` returns; None when a signal came before, which cancels it."""
    opened = asyncio.create_task(opening)
    asked = asyncio.create_task(interruption.wait())
    await asyncio.wait({opened, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not opened.done():
        _say("stopped before the first line was read")
        opened.cancel()
        await asyncio.wait({opened})
        return None
    return await opened


async def _shut_down(queue: CollectorQueue, acknowledgements: Acknowledgements | None) -> str | None:
    """End the queue; return what went wrong."""
    try:
        await queue.shut_down_queue()
        if acknowledgements is not None:
            acknowledgements.close()
    except Exception as exc:
        return f"the queue did not end well: {type(exc).__name__}: {exc}"
    return None


def _make_job(
    options: argparse.Namespace,
    queue: CollectorQueue,
    source: Source,
    sink: Sink,
    decoder: LineDecoder,
    acknowledgements: Acknowledgements | None,
) -> Job:
    wanted = (options.consumers or 0) + (options.queue_size or DEFAULT_QUEUE_SIZE)
    return Job(
        queue,
        source,
        sink,
        splitter=LineSplitter(options.max_line_bytes),
        decoder=decoder,
        encoder=LineEncoder(several=len(queue.collectors) > 1, tracebacks=options.traceback),
        window=Window(
            options.in_flight or max(LINES_AT_ONCE, wanted), MAX_BYTES, ordered=not options.unordered
        ),
        tally=Tally(),
        progress=make_progress(source.total, quiet=options.quiet, interval=options.progress_interval),
        fail_fast=options.fail_fast,
        acknowledgements=acknowledgements,
    )


def _tell_of_earlier_run(left: list[CollectorEvent], *, quiet: bool) -> None:
    if not left or quiet:
        return
    last = max(getattr(event.payload, "_origin", 0) for event in left)
    what = "event" if len(left) == 1 else "events"
    _say(f"{len(left):,} {what} of an earlier run first; the last line that it took was {last:,}")


def _tell(queue: CollectorQueue, job: Job, interruption: Interruption, *, quiet: bool) -> None:
    tally, left = job.tally, f"; not finished: {ranges(job.tally.unfinished)}" if job.tally.unfinished else ""
    if job.complaint is not None:
        _say(job.complaint)
    if interruption.received is not None:
        _say(f"stopped by {interruption.received.name} after line {tally.read:,}{left or ', all finished'}")
    elif job.failed_fast:
        _say(f"stopped at the first failed event, having read {tally.read:,} lines{left}")
    elif left:
        _say(left.removeprefix("; "))
    if not quiet:
        print(tally.summary(queue), file=sys.stderr)


def _leave_at_once(job: Job) -> None:
    """Say what is lost at the second signal, and give the terminal back."""
    job.progress.close()
    left = len(job.window.numbers())
    text = (
        f"event-collector run: stopped at once after line {job.tally.read:,}; not finished: {left:,} lines\n"
    )
    os.write(2, text.encode())  # a signal handler: what it interrupted may be in the middle of a print()


def _say(text: str) -> None:
    print(f"event-collector run: {text}", file=sys.stderr)


def _status(interruption: Interruption, *, failed: bool) -> int:
    received = interruption.received
    return int(failed) if received is None else exit_status(received)
