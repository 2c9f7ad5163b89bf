"""The options of `event-collector run`, and its help."""

import argparse
from collections.abc import Callable
from typing import Any

from event_collector.command.logs import DEFAULT_LEVEL, FORMATS, LEVELS
from event_collector.command.options import add_command, add_loop, add_progress_interval, count, duration

LINES_IN_FLIGHT = 2000  # default of --in-flight: enough for a thousand handlers that wait, and as many queued events
MAX_LINE_BYTES = 16 * 1024 * 1024
DRAIN_TIMEOUT = 10.0
MAX_ATTEMPTS = 5  # default of --max-attempts

DESCRIPTION = """\
Process newline-delimited JSON: each line of the input is the payload of one event, each event gives one line of
output. Empty lines are skipped.

MODULE:OBJECT is what processes the events: a handler, `(value) -> result` or `(payload, ctx) -> result`, a
Collector, a list of them, a CollectorQueue, or a function without parameters (plain or async) that returns one of
these. MODULE is a name as in `import`, also looked up in the current directory, or the path of a .py file. If the
handler declares the type of its values (`order: Order`, or `payload: Payload[Order]`), lines are validated against
it and decoded into it.
"""

EPILOG = """\
output, where ID is the number of the input line, starting at 1:
  {"id":ID,"ok":VALUE}                             the handler's result
  {"id":ID,"error":{"type":...,"message":...}}     it failed, or the line is not JSON, too long, of the wrong type
  {"id":ID,"results":[{"collector":KEY,"ok":...},  with several collectors: the result of each
                      {"collector":KEY,"error":{...}}]}
  {"id":ID,"replayed":true,...}                    with --journal: a line of an earlier run, and its number there
  With --source, ID is the id of the message in its stream. Handlers print to standard error.

signals:
  Ctrl-C or SIGTERM stop the reading. Events in flight have --drain-timeout seconds to finish; the rest is given up
  and reported, or given back to the source. A second signal ends the program at once.

exit status:
  0  every event succeeded               2    wrong usage
  1  events failed, or the run did       130  ended by Ctrl-C (143 by SIGTERM)

examples:
  event-collector run handlers:handle orders.ndjson > results.ndjson
  zcat logs.gz | event-collector run src/parse.py:parse --workers 8 --unordered > parsed.ndjson
  event-collector run handlers:handle --source nats://broker:4222/ORDERS > results.ndjson
  tail -f requests.ndjson | event-collector run app.queues:make_queue --quiet | jq .ok
"""


def add_options(subparsers: "argparse._SubParsersAction[Any]", run: Callable[[argparse.Namespace], int]) -> None:
    """Add the parser of the subcommand, which `run` executes."""
    summary = "process newline-delimited JSON with a handler, a collector or a queue"
    parser = add_command(subparsers, "run", run, summary, DESCRIPTION, EPILOG)
    parser.add_argument("target", metavar="MODULE:OBJECT", help="what processes the events")
    parser.add_argument("input", metavar="FILE", nargs="?", help="the input; '-', the default, is standard input")
    parser.take_last_operand("input")
    _add_handlers(parser.add_argument_group("how a handler runs"))
    _add_queue(
        parser.add_argument_group("how much runs at once (not for a CollectorQueue, which has its own settings)")
    )
    _add_streams(parser.add_argument_group("input and output"))
    _add_source(parser.add_argument_group("messages of a broker, in place of lines"))
    _add_program(parser.add_argument_group("the program"))


def _add_handlers(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--mode", choices=("auto", "coroutine", "thread", "process", "adaptive"),
        help="where the handler runs; auto, the default: on the event loop if it is `async def`, else in worker "
        "processes; adaptive: on the event loop or in worker processes, depending on how long its events take",
    )  # fmt: skip
    add(
        "--dask", metavar="ADDRESS",
        help="run in the workers of the Dask cluster whose scheduler has this address, such as tcp://host:8786; the "
        "workers need event_collector and MODULE",
    )  # fmt: skip
    add("--timeout", metavar="SECONDS", type=duration, help="time limit of one event (default: no limit)")


def _add_queue(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--consumers", metavar="N", type=count, help="at most N events in handlers")
    add("--workers", metavar="N", type=count, help="at most N worker processes (default: the CPUs granted)")
    add("--min-workers", metavar="N", type=count, help="at least N worker processes")
    add("--start-method", choices=("forkserver", "spawn", "fork"), help="how worker processes are started")
    add(
        "--queue-size",
        metavar="N",
        type=count,
        help="at most N events that wait for a handler (default: 1000; none in worker processes)",
    )
    add(
        "--journal", metavar="PATH",
        help="a file that keeps the lines that were read and are not yet written; the lines that an earlier run left "
        "there are processed first",
    )  # fmt: skip
    add(
        "--resume", action=argparse.BooleanOptionalAction, default=None,
        help="with --journal: the input is that of the last run: continue where it stopped, or fail if it is another "
        "input. Without this option, a file that begins with the same lines is continued, and a pipe is not",
    )  # fmt: skip
    add(
        "--monitor", metavar="PATH",
        help="create a Unix socket through which `event-collector top` and `check` can watch the run",
    )  # fmt: skip
    add(
        "--control", action="store_true", default=None,
        help="with --monitor: create a second socket through which `event-collector ctl` can act on the run",
    )  # fmt: skip


def _add_streams(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--unordered", action="store_true", help="write results as events finish, not in the order of the input")
    add(
        "--fail-fast", action="store_true",
        help="stop at the first failed event: its line is the last of the output, and events in flight are given up",
    )  # fmt: skip
    add("--traceback", action="store_true", help="include the traceback of a handler's exception in its error")
    add(
        "--max-line-bytes", metavar="N", type=count, default=MAX_LINE_BYTES,
        help="a longer line is an error (default: %(default)s)",
    )  # fmt: skip
    add(
        "--in-flight", metavar="N", type=count,
        help="at most N lines that are read and not yet written, which bounds the memory "
        f"(default: {LINES_IN_FLIGHT}, or --consumers plus --queue-size if that is more, or what keeps the workers "
        "busy if lines travel in blocks)",
    )  # fmt: skip


def _add_source(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--source", metavar="URL",
        help="nats://HOST:PORT/STREAM, or redis://HOST:PORT/STREAM: each message is the payload of an event, and is "
        "acknowledged when its line of output is written; any number of these commands share a stream. @PATH reads "
        "the URL from a file",
    )  # fmt: skip
    add(
        "--max-attempts", metavar="N", type=count,
        help=f"deliveries of a message that fails, before it becomes a dead letter (default: {MAX_ATTEMPTS})",
    )  # fmt: skip
    add("--until-empty", action="store_true", help="end when no more messages come (default: run until a signal)")


def _add_program(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary, only problems")
    add_progress_interval(group)
    group.add_argument(
        "--drain-timeout", metavar="SECONDS", type=duration, default=DRAIN_TIMEOUT,
        help="seconds that events have to finish after the first signal (default: %(default)g)",
    )  # fmt: skip
    add_loop(group)
    group.add_argument(
        "--log-level", choices=LEVELS,
        help="lowest level of log lines on standard error, of the queue and of handlers "
        f"(default: {DEFAULT_LEVEL}, or what MODULE has configured)",
    )  # fmt: skip
    group.add_argument(
        "--log-format", choices=FORMATS, default="text",
        help="log lines for readers, or one JSON object for each (default: %(default)s)",
    )  # fmt: skip
