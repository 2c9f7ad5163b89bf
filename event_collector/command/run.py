"""`event-collector run`: one run, from the import of its target to the exit status."""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from event_collector.command import logs
from event_collector.command.acknowledgements import Acknowledgements
from event_collector.command.files import Sink, Source, take_standard_streams
from event_collector.command.input_job import Job
from event_collector.command.input_window import Window
from event_collector.command.loops import loop_factory
from event_collector.command.ndjson import LineDecoder, LineEncoder, LineSplitter, UnknownType
from event_collector.command.progress import make_progress
from event_collector.command.run_options import LINES_AT_ONCE, MAX_ATTEMPTS, add_options
from event_collector.command.tally import Tally
from event_collector.command.target import DEFAULT_QUEUE_SIZE, find, make_queue
from event_collector.command.usage import UsageError
from event_collector.events.event import CollectorEvent
from event_collector.handlers.collector import common_payload_type
from event_collector.handlers.retry import Retry
from event_collector.journal.journal import Journal
from event_collector.life.interruption import Interruption, exit_status
from event_collector.queue import CollectorQueue
from event_collector.tiers.executors.dask.dask_workers import connected, dask_workers
from event_collector.values.errors import ConfigError, ExecutorLost, JournalError, MonitorError

if TYPE_CHECKING:
    from event_collector.command.messages import MessageJob
    from event_collector.sources.source import Source as MessageSource

__all__ = ["add_parser"]

T = TypeVar("T")

WHY_NOT = {
    "FILE": "events come from one of them",
    "--journal": "the broker keeps what is not finished",
    "--fail-fast": "a message that fails is delivered again, perhaps elsewhere",
}
"""What speaks against options of lines in a run of messages."""

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
    source = _open_source(options) or Source.open(options.input or "-", stdin)
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


async def _process(
    options: argparse.Namespace, source: "Source | MessageSource", sink: Sink, found: Any
) -> int:
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
    job: Job | MessageJob
    if isinstance(source, Source):
        job = _make_job(options, queue, source, sink, decoder, acknowledgements)
        _tell_of_earlier_run(earlier.events, quiet=options.quiet)
        earlier.hand_to(job.replay)
    else:
        job = _make_message_job(options, queue, source, sink)
    interruption.before_exit = lambda: _leave_at_once(job)
    try:
        await job.run(interruption, options.drain_timeout)
    finally:
        job.progress.close()
        complaint = await _shut_down(queue, acknowledgements)
    job.complaint = job.complaint or complaint
    if not job.reader_gone:
        _tell(job, interruption, quiet=options.quiet)
    unfinished = bool(job.unfinished()) and not job.reader_gone
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
        decoder = LineDecoder(common_payload_type(queue.collectors.values()), options.max_line_bytes)
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
    return Job(
        queue,
        source,
        sink,
        splitter=LineSplitter(options.max_line_bytes),
        decoder=decoder,
        encoder=LineEncoder(several=len(queue.collectors) > 1, tracebacks=options.traceback),
        window=Window(_in_flight(options), MAX_BYTES, ordered=not options.unordered),
        tally=Tally(),
        progress=make_progress(source.total, quiet=options.quiet, interval=options.progress_interval),
        fail_fast=options.fail_fast,
        acknowledgements=acknowledgements,
    )


def _make_message_job(
    options: argparse.Namespace, queue: CollectorQueue, source: "MessageSource", sink: Sink
) -> "MessageJob":
    # What a run of lines has no use for is not imported.
    from event_collector.command.messages import MessageJob
    from event_collector.sources.payloads import JsonPayloads

    return MessageJob(
        queue,
        source,
        sink,
        encoder=LineEncoder(several=len(queue.collectors) > 1, tracebacks=options.traceback),
        tally=Tally(),
        progress=make_progress(None, quiet=options.quiet, interval=options.progress_interval),
        until_empty=options.until_empty,
        feed={
            "retry": Retry(max_attempts=options.max_attempts or MAX_ATTEMPTS),
            "max_in_flight": _in_flight(options),
            "max_bytes": MAX_BYTES,
            "to_payload": JsonPayloads(queue.collectors.values(), options.max_line_bytes),
        },
    )


def _in_flight(options: argparse.Namespace) -> int:
    wanted = (options.consumers or 0) + (options.queue_size or DEFAULT_QUEUE_SIZE)
    return options.in_flight or max(LINES_AT_ONCE, wanted)


def _open_source(options: argparse.Namespace) -> "MessageSource | None":
    """Return the source of messages that is asked for, if one is."""
    if options.source is None:
        if options.until_empty or options.max_attempts:
            name = "--until-empty" if options.until_empty else "--max-attempts"
            raise UsageError(f"{name} is for runs with --source")
        return None
    from event_collector.sources.url import open_url

    lines_only = {"FILE": options.input, "--journal": options.journal, "--fail-fast": options.fail_fast}
    given = [name for name, value in lines_only.items() if value]
    if given:
        raise UsageError(f"{' and '.join(given)} cannot be had with --source: {WHY_NOT[given[0]]}")
    try:
        return open_url(_url_of(options.source))
    except ConfigError as exc:
        raise UsageError(f"--source: {exc}") from None


def _url_of(text: str) -> str:
    """Return the URL of a source; that of "@PATH" is in a file, where the list of processes does not show it."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text().partition("\n")[0].strip()
    except (OSError, UnicodeError) as exc:
        raise UsageError(
            f"--source: cannot read {text[1:]}: {getattr(exc, 'strerror', None) or exc}"
        ) from None


def _tell_of_earlier_run(left: list[CollectorEvent], *, quiet: bool) -> None:
    if not left or quiet:
        return
    last = max(event.payload._headers.origin or 0 for event in left)
    what = "event" if len(left) == 1 else "events"
    _say(f"{len(left):,} {what} of an earlier run first; the last line that it took was {last:,}")


def _tell(job: "Job | MessageJob", interruption: Interruption, *, quiet: bool) -> None:
    if job.complaint is not None:
        _say(job.complaint)
    if interruption.received is not None:
        _say(f"stopped by {interruption.received.name} {job.stopped()}")
    elif isinstance(job, Job) and job.failed_fast:
        left = job.unfinished()
        _say(
            f"stopped at the first failed event, having read {job.tally.read:,} lines{f'; {left}' if left else ''}"
        )
    elif job.unfinished():
        _say(job.unfinished())
    if not quiet:
        print(job.summary(), file=sys.stderr)


def _leave_at_once(job: "Job | MessageJob") -> None:
    """Say what is lost at the second signal, and give the terminal back."""
    job.progress.close()
    if isinstance(job, Job):
        where = f"after line {job.tally.read:,}; not finished: {len(job.window.numbers()):,} lines"
    else:
        where = job.stopped()
    text = f"event-collector run: stopped at once {where}\n"
    os.write(2, text.encode())  # a signal handler: what it interrupted may be in the middle of a print()


def _say(text: str) -> None:
    print(f"event-collector run: {text}", file=sys.stderr)


def _status(interruption: Interruption, *, failed: bool) -> int:
    received = interruption.received
    return int(failed) if received is None else exit_status(received)
