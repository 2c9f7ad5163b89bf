"""`event-collector ctl`: pauses, resizes, cancels, replays and drains a queue while it runs."""

import argparse
import contextlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from event_collector.command.options import UsageError, add_command, count, duration
from event_collector.control.control_client import ControlClient
from event_collector.control.control_messages import (
    LONGEST_PROFILE,
    MOST_LETTERS,
    Answer,
    CancelRequest,
    ControlState,
    Done,
    DrainRequest,
    DropRequest,
    Failed,
    FoldedStack,
    LetterPage,
    LettersRequest,
    PauseRequest,
    ProfilePage,
    ProfileRequest,
    ReplaceRequest,
    ReplayRequest,
    Request,
    ResizeRequest,
    ResumeRequest,
    Selection,
    StackPage,
    StackRequest,
    StateRequest,
    encode_message,
)
from event_collector.watching.socket_lines import Unreachable
from event_collector.watching.stack_socket import ProcessStack
from event_collector.watching.tables import plural, printable

REFUSED: Final = 1
WIDTH: Final = 200  # characters of a line of text; --json has the rest

DESCRIPTION = """\
Act on a queue while it runs. Its program made it with
monitor=Monitor(PATH, control=True), or runs
`event-collector run --monitor PATH --control`.

Every action has --dry-run, which says what it would do and does nothing.
"""

EPILOG = """\
examples:
  event-collector ctl /run/app/queue.sock pause bill
  event-collector ctl /run/app/queue.sock resize --workers 4 --dry-run
  event-collector ctl /run/app/queue.sock dead-letters list
  event-collector ctl /run/app/queue.sock dead-letters replay --error ValueError
  event-collector ctl /run/app/queue.sock profile --seconds 5 > stacks.folded

exit status: 0 done, 1 refused or not reachable, 2 wrong usage
"""

_Maker = Callable[[argparse.Namespace], Request]


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = add_command(
        subparsers, "ctl", run, "pause, resize, cancel, replay, drain a running queue", DESCRIPTION, EPILOG
    )
    parser.add_argument("path", metavar="PATH", help="the monitor socket of the queue")
    verbs = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add(verbs, "state", lambda _: StateRequest(), "what is paused, and the bounds of the pools")
    pause = _add(verbs, "pause", lambda o: PauseRequest(collector=o.key, dry_run=o.dry_run), "begin no more events")
    resume = _add(verbs, "resume", lambda o: ResumeRequest(collector=o.key, dry_run=o.dry_run), "end a pause")
    for verb in (pause, resume):
        verb.add_argument("key", metavar="KEY", nargs="?", help="the collector (default: the queue as a whole)")
    resize = _add(verbs, "resize", _resize, "change the upper bounds of the pools")
    resize.add_argument("--workers", metavar="N", type=count, help="max_workers")
    resize.add_argument("--consumers", metavar="N", type=count, help="max_consumers")
    replace = _add(verbs, "replace", lambda o: ReplaceRequest(worker=o.worker, dry_run=o.dry_run), "replace a worker")
    replace.add_argument("worker", metavar="WORKER", type=_whole, help="its process id, or its number")
    cancel = _add(verbs, "cancel", lambda o: CancelRequest(event=o.event, dry_run=o.dry_run), "cancel an event")
    cancel.add_argument("event", metavar="EVENT", type=_whole, help="its id")
    _add_letters(verbs)
    stack = _add(verbs, "stack", lambda o: StackRequest(pid=o.pid), "where the processes are now")
    stack.add_argument("pid", metavar="PID", nargs="?", type=_whole, help="only this process (default: all)")
    profile = _add(verbs, "profile", _profile, "take stacks for some time; writes folded stacks, for flame graphs")
    profile.add_argument("pid", metavar="PID", nargs="?", type=_whole, help="only this process (default: all)")
    profile.add_argument(
        "--seconds", metavar="N", type=duration, default=10.0, help=f"at most {LONGEST_PROFILE:g} (default: 10)"
    )
    _add(verbs, "drain", lambda o: DrainRequest(dry_run=o.dry_run), "begin the shutdown: finish accepted events, end")
    for verb in (pause, resume, resize, replace, cancel, verbs.choices["drain"]):
        _add_dry_run(verb)


def _add(verbs: Any, name: str, make: _Maker, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
    parser.set_defaults(make=make)
    parser.add_argument("--json", action="store_true", help="write the answer as a line of JSON")
    return parser


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what it would do, and do nothing")


def _add_letters(verbs: Any) -> None:
    parser = verbs.add_parser("dead-letters", help="list, replay or drop dead letters")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = _add(actions, "list", _list, "list dead letters, grouped by collector and error")
    listing.add_argument(
        "--limit", metavar="N", type=count, default=20, help=f"newest letters, at most {MOST_LETTERS} (default: 20)"
    )
    replay = _add(actions, "replay", lambda o: ReplayRequest(selection=_some(o), dry_run=o.dry_run), "send them again")
    drop = _add(actions, "drop", lambda o: DropRequest(selection=_some(o), dry_run=o.dry_run), "remove them for good")
    for verb in (listing, replay, drop):
        verb.add_argument("--id", metavar="EVENT", type=_whole, help="the letters of this event")
        verb.add_argument("--collector", metavar="KEY", help="the letters of this collector")
        verb.add_argument("--error", metavar="TEXT", help="the class of the error, or its first line")
        verb.add_argument("--reason", metavar="TEXT", help="such as exhausted, rejected or deadline")
    for verb in (replay, drop):
        verb.add_argument("--all", action="store_true", help="all of them")
        _add_dry_run(verb)


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    request = _checked(options.make(options))
    try:
        with contextlib.closing(ControlClient(options.path)) as client:
            answer = client.ask(request)
    except Unreachable as exc:
        answer = Failed(text=str(exc))
    if isinstance(answer, Failed):
        print(f"event-collector ctl: {printable(answer.text)}", file=sys.stderr)
    if options.json:
        print(encode_message(answer).decode())
    elif not isinstance(answer, Failed):
        print(_shown(answer))
    return REFUSED if isinstance(answer, Failed) else 0


def _checked(request: Request) -> Request:
    """Return a request that keeps the bounds of its type, which the program would refuse otherwise."""
    try:
        return msgspec.convert(msgspec.to_builtins(request), type(request))
    except msgspec.ValidationError as exc:
        raise UsageError(str(exc)) from None


def _resize(options: argparse.Namespace) -> Request:
    if options.workers is None and options.consumers is None:
        raise UsageError("say what to resize: --workers N, --consumers N or both")
    return ResizeRequest(max_workers=options.workers, max_consumers=options.consumers, dry_run=options.dry_run)


def _profile(options: argparse.Namespace) -> Request:
    return ProfileRequest(pid=options.pid, seconds=options.seconds)


def _list(options: argparse.Namespace) -> Request:
    return LettersRequest(selection=_selection(options), limit=options.limit)


def _selection(options: argparse.Namespace) -> Selection:
    return Selection(event=options.id, collector=options.collector, error=options.error, reason=options.reason)


def _some(options: argparse.Namespace) -> Selection:
    selection = _selection(options)
    if options.all == (selection != Selection()):
        raise UsageError("say which: --id, --collector, --error, --reason, or --all")
    return selection


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}")
    return number


def _shown(answer: Answer) -> str:
    match answer:
        case LetterPage():
            return _letters(answer)
        case StackPage(stacks=stacks):
            return "\n\n".join(map(_stack, stacks))
        case ProfilePage(stacks=stacks):
            return "\n".join(map(_folded, stacks))
        case ControlState():
            return _state(answer)
        case Done(text=text):
            return printable(text)
        case _:
            return ""


def _stack(stack: ProcessStack) -> str:
    text = stack.text.rstrip() or "  (no handler, or no answer)"
    return "\n".join(map(printable, [f"pid {stack.pid}, {stack.subject}", *text.splitlines()]))


def _folded(stack: FoldedStack) -> str:
    """Return a line of the format that tools for flame graphs read: frames between semicolons, and the count."""
    frames = (printable(frame).replace(";", ",") for frame in (f"pid {stack.pid} {stack.subject}", *stack.frames))
    return f"{';'.join(frames)} {stack.count}"


def _state(state: ControlState) -> str:
    paused = [*(["the queue"] if state.is_paused else []), *map(repr, state.paused_collectors)]
    lines = (
        f"{state.queue}: {state.state}",
        f"paused: {', '.join(paused) or 'nothing'}",
        f"max_workers: {state.max_workers:,}; max_consumers: {state.max_consumers:,}",
        f"dead letters: {state.dead_letters:,}",
    )
    return "\n".join(map(printable, lines))


def _letters(page: LetterPage) -> str:
    lines = [plural(page.total, "dead letter")]
    lines += [f"{one.count:8,}  {one.collector or '-'}  {one.error}" for one in page.groups]
    if page.letters:
        lines.append("")
    for one in page.letters:
        died = datetime.fromtimestamp(one.time, UTC).isoformat(timespec="seconds")
        payload = "" if one.payload is None else f"  {one.payload}"
        lines.append(f"{one.event:8}  {died}  {one.collector or '-'}  {one.reason}  {one.error}{payload}")
    clipped = (printable(line) for line in lines)
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..." for line in clipped)
