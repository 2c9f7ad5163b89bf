"""`event-collector run`: one run, from the import of its target to the exit status."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from event_collector.command import logs
from event_collector.command.lines.block_run import BlockRun
from event_collector.command.lines.block_window import BlockWindow
from event_collector.command.lines.files import InputFile, OutputFile
from event_collector.command.lines.input_run import InputRun, end_tasks
from event_collector.command.lines.line_journal import LineJournal
from event_collector.command.lines.line_run import LineRun
from event_collector.command.lines.line_window import LineWindow
from event_collector.command.lines.ndjson import LineDecoder, LineEncoder, LineSplitter
from event_collector.command.options import UsageError, loop_factory
from event_collector.command.progress import make_display
from event_collector.command.run_options import LINES_IN_FLIGHT, MAX_ATTEMPTS, add_options
from event_collector.command.standard_streams import take_standard_streams, write_all
from event_collector.command.tally import RunOutput, Tally
from event_collector.command.target import DEFAULT_QUEUE_SIZE, find, make_queue
from event_collector.handlers.collector import common_payload_type
from event_collector.handlers.retry import Retry
from event_collector.life.interruption import Interruption, exit_status
from event_collector.queue import CollectorQueue
from event_collector.tiers.executors.dask.dask_workers import connected, dask_workers
from event_collector.values.errors import ConfigError, ExecutorLost, JournalError, MonitorError
from event_collector.values.json_values import UnknownType
from event_collector.watching.tables import plural

if TYPE_CHECKING:  # a run over lines does not import these
    from event_collector.command.message_run import MessageRun
    from event_collector.sources.source import Source

T = TypeVar("T")
QueueRun: TypeAlias = "InputRun[Any] | MessageRun"

LINES_ONLY = {
    "input": ("FILE", "events come from one of them"),
    "journal": ("--journal", "the broker keeps what is not finished"),
    "resume": ("--resume", "the broker keeps what is not finished"),
    "fail_fast": ("--fail-fast", "a message that fails is delivered again, perhaps elsewhere"),
}
"""Options that cannot be combined with --source: attribute, name and reason."""

GRACE = 1.0  # seconds for writing the output of given-up events. A slower reader loses it
MAX_BYTES = 32 * 1024 * 1024  # bytes of input in flight, which bounds the memory when lines are long


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    add_options(subparsers, run)


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    stdin, stdout = take_standard_streams()
    logs.configure(options.log_level, options.log_format)
    factory = loop_factory(options.loop)
    source = _open_source(options) or InputFile.open(options.input or "-", stdin)
    found = find(options.target)
    logs.configure_logging(options.log_level, options.log_format)
    with _cluster(options) as cluster, asyncio.Runner(loop_factory=factory) as runner:
        options = argparse.Namespace(**{**vars(options), "dask": cluster})
        return runner.run(_process(options, source, OutputFile(stdout), found))


@contextlib.contextmanager
def _cluster(options: argparse.Namespace) -> Iterator[Executor | None]:
    """Connect to the Dask cluster of --dask, and yield its executor; None without --dask."""
    if options.dask is None:
        yield None
        return
    if options.mode is not None:
        raise UsageError("--dask and --mode both say where the handler runs: use one of them")
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(connected(options.dask))
        except (ConfigError, ExecutorLost) as exc:
            raise UsageError(f"--dask: {exc}") from None
        yield dask_workers(client)


async def _process(options: argparse.Namespace, source: "InputFile | Source", file: OutputFile, found: Any) -> int:
    """Start the queue, process the input, end the queue, report, and return the exit status."""
    interruption = Interruption()
    interruption.install()
    window = LineWindow(_in_flight(options), MAX_BYTES, ordered=not options.unordered)
    journal = _make_journal(options, window, source.inode) if isinstance(source, InputFile) else None
    opened = await _unless_interrupted(interruption, _open(options, found, journal))
    if opened is None:
        return _status(interruption, failed=True)
    queue, decoder = opened
    run = _make_run(options, queue, source, file, window, decoder, journal)
    if len(window) and not options.quiet:
        events = plural(len(window), "event")
        _say(f"{events} of an earlier run first; the last line that it took was {window.last_number():,}")
    interruption.call_at(first=lambda: _announce(run, interruption), second=lambda: _leave_at_once(run))
    try:
        await _drive(run, interruption, options.drain_timeout)
    finally:
        run.output.progress.close()
        problem = await _shut_down(queue, journal)
    tally = run.output.tally
    if problem is not None:
        tally.complain(problem)
    if tally.reader_gone:
        return _status(interruption, failed=bool(tally.failed or tally.complaint))
    _report(run, interruption, quiet=options.quiet)
    return _status(interruption, failed=bool(tally.failed or tally.complaint or run.cut_short()))


def _make_journal(options: argparse.Namespace, window: LineWindow, inode: int) -> LineJournal | None:
    if options.journal is None:
        if options.resume is not None:
            raise UsageError("--resume continues with what a journal has noted: add --journal PATH")
        return None
    say = _silent if options.quiet else _say
    try:
        return LineJournal(options.journal, window, inode, resume=options.resume, say=say)
    except ConfigError as exc:
        raise UsageError(f"--journal: {exc}") from None


async def _open(
    options: argparse.Namespace, found: Any, journal: LineJournal | None
) -> tuple[CollectorQueue, LineDecoder] | None:
    """Make the queue and start it; report why and return None if it does not start."""
    try:
        queue = await make_queue(found, options.target, {**vars(options), "journal": journal and journal.journal})
        decoder = LineDecoder(common_payload_type(queue.collectors.values()), options.max_line_bytes)
        await queue.init_queue()
    except (ConfigError, JournalError, MonitorError, UnknownType, UsageError) as exc:
        raise UsageError(str(exc)) from None
    except Exception as exc:
        _say(f"the queue cannot start: {type(exc).__name__}: {exc}")
        return None
    return queue, decoder


async def _unless_interrupted(interruption: Interruption, opening: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `opening`; cancel it and return None if a signal comes first."""
    opened = asyncio.create_task(opening)
    interrupted = asyncio.create_task(interruption.wait())
    await asyncio.wait({opened, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    interrupted.cancel()
    if not opened.done():
        _say("stopped before the first line was read")
        opened.cancel()
        await asyncio.wait({opened})
        return None
    return await opened


async def _drive(run: QueueRun, interruption: Interruption, drain_timeout: float) -> None:
    """Process the input to its end, or until there is a reason to stop.

    After a signal nothing more is read, and events in flight have `drain_timeout` seconds to finish. Events that are
    left then, or after any other early end, are given up, which ends the queue.
    """
    tally = run.output.tally
    work = asyncio.create_task(run.process(), name="run")
    signal = asyncio.create_task(interruption.wait(), name="signal")
    ticker = asyncio.create_task(_show_progress(run), name="progress")
    try:
        await asyncio.wait({work, signal}, return_when=asyncio.FIRST_COMPLETED)
        run.stop()
        if not work.done():
            await asyncio.wait({work}, timeout=drain_timeout)
        if tally.reader_gone:
            logs.silence()
        if not work.done() or run.unfinished():
            await _give_up(run.queue)
            await asyncio.wait({work}, timeout=GRACE)
    finally:
        await end_tasks(work, signal, ticker)
        tally.note_workers(run.queue)
        tally.end()


async def _show_progress(run: QueueRun) -> None:
    output = run.output
    while True:
        await asyncio.sleep(output.progress.interval)
        output.tally.note_workers(run.queue)
        output.progress.show(output.tally.progress())


async def _give_up(queue: CollectorQueue) -> None:
    """End the queue at once: unfinished events end with QueueShutDown."""
    end = asyncio.create_task(queue.shut_down_queue())
    await asyncio.sleep(0)  # a task that is cancelled before its first step never takes it
    end.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await end


async def _shut_down(queue: CollectorQueue, journal: LineJournal | None) -> str | None:
    """End the queue; return the problem if there was one."""
    try:
        await queue.shut_down_queue()
        if journal is not None:
            journal.close()
    except Exception as exc:
        return f"the queue did not end well: {type(exc).__name__}: {exc}"
    return None


def _make_run(
    options: argparse.Namespace, queue: CollectorQueue, source: "InputFile | Source", file: OutputFile,
    window: LineWindow, decoder: LineDecoder, journal: LineJournal | None,
) -> QueueRun:  # fmt: skip
    total = source.total if isinstance(source, InputFile) else None
    encoder = LineEncoder(several=len(queue.collectors) > 1, tracebacks=options.traceback)
    progress = make_display(total, quiet=options.quiet, interval=options.progress_interval)
    output = RunOutput(file, encoder, Tally(), progress)
    if isinstance(source, InputFile):
        splitter = partial(LineSplitter, options.max_line_bytes)
        blocks = BlockWindow(_in_flight(options), MAX_BYTES, ordered=not options.unordered)
        return BlockRun.open(
            queue, source, output, splitter=splitter(), decoder=decoder, window=blocks, fail_fast=options.fail_fast,
            is_fixed=options.in_flight is not None,
        ) or LineRun(
            queue, source, output, splitter=splitter, decoder=decoder, window=window, fail_fast=options.fail_fast,
            journal=journal,
        )  # fmt: skip
    from event_collector.command.message_run import MessageRun
    from event_collector.sources.payloads import JsonPayloads

    return MessageRun(
        queue, source, output, until_empty=options.until_empty,
        retry=Retry(max_attempts=options.max_attempts or MAX_ATTEMPTS), max_in_flight=_in_flight(options),
        max_bytes=MAX_BYTES, to_payload=JsonPayloads(queue.collectors.values(), options.max_line_bytes),
    )  # fmt: skip


def _in_flight(options: argparse.Namespace) -> int:
    wanted = (options.consumers or 0) + (options.queue_size or DEFAULT_QUEUE_SIZE)
    return options.in_flight or max(LINES_IN_FLIGHT, wanted)


def _open_source(options: argparse.Namespace) -> "Source | None":
    if options.source is None:
        if options.until_empty or options.max_attempts:
            name = "--until-empty" if options.until_empty else "--max-attempts"
            raise UsageError(f"{name} is for runs with --source")
        return None
    from event_collector.sources.url import open_url

    unsuitable = [entry for attribute, entry in LINES_ONLY.items() if getattr(options, attribute)]
    if unsuitable:
        names = " and ".join(name for name, _ in unsuitable)
        raise UsageError(f"{names} cannot be combined with --source: {unsuitable[0][1]}")
    try:
        return open_url(_read_url(options.source))
    except ConfigError as exc:
        raise UsageError(f"--source: {exc}") from None


def _read_url(text: str) -> str:
    """Return the URL of a source. "@PATH" names a file with the URL, which keeps it out of the process list."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("utf-8-sig").partition("\n")[0].strip()
    except (OSError, UnicodeError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise UsageError(f"--source: cannot read {text[1:]}: {reason}") from None


def _report(run: QueueRun, interruption: Interruption, *, quiet: bool) -> None:
    if run.output.tally.complaint is not None:
        _say(run.output.tally.complaint)
    if interruption.received is not None:
        _say(f"stopped by {interruption.received.name} {run.stopped(at_once=False)}")
    elif text := run.cut_short():
        _say(text)
    if not quiet:
        print(run.summary(), file=sys.stderr)


def _announce(run: QueueRun, interruption: Interruption) -> None:
    """Say at the first signal what is going on. This runs in a signal handler, like `_leave_at_once()`."""
    with run.output.progress.aside():
        write_all(2, f"event-collector run: {interruption.outlook(run.unfinished())}\n".encode())


def _leave_at_once(run: QueueRun) -> None:
    """Report the loss at the second signal, and restore the terminal.

    This runs in a signal handler, which may have interrupted a print(): it writes to the descriptor.
    """
    run.output.progress.close()
    write_all(2, f"event-collector run: stopped at once {run.stopped(at_once=True)}\n".encode())


def _silent(text: str) -> None:
    """Say nothing."""


def _say(text: str) -> None:
    print(f"event-collector run: {text}", file=sys.stderr)


def _status(interruption: Interruption, *, failed: bool) -> int:
    received = interruption.received
    return int(failed) if received is None else exit_status(received)
