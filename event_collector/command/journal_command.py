"""`event-collector journal`: look into the journal of a queue, run its dead letters again, or drop what is in it."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from event_collector.command.usage import UsageError, count
from event_collector.journal.changes import Changes
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_codec import decode_untyped
from event_collector.journal.stored_event import StoredEvent, StoredLetter, StoredProgress
from event_collector.values.errors import JournalError
from event_collector.watching.tables import printable

__all__ = ["add_parser"]

ACTIONS = ("list", "count", "replay", "drop")
WIDTH = 200
"""Characters of a line of text for people; the rest is in --json."""

DESCRIPTION = """\
Look into the journal of a queue: its unfinished events, which run at the next start, and its dead letters.

  list     write a line for each (if no ACTION is given)
  count    write how many there are
  replay   make dead letters events again: they run at the next start, under new ids, for the collector that failed
  drop     delete dead letters, or unfinished events with --unfinished

list and count may be used while a queue runs with the journal; replay and drop may not.
"""

EPILOG = """\
examples:
  event-collector journal orders.journal
  event-collector journal orders.journal list --dead --json | jq .error
  event-collector journal orders.journal replay --collector bill
  event-collector journal orders.journal drop --id 17 --id 23
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "journal",
        help="look into a journal, run its dead letters again",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="the journal")
    parser.add_argument(
        "action",
        metavar="ACTION",
        nargs="?",
        choices=ACTIONS,
        default="list",
        help="list, count, replay or drop",
    )
    which = parser.add_argument_group("which of them")
    kind = which.add_mutually_exclusive_group()
    kind.add_argument("--dead", action="store_true", help="dead letters only")
    kind.add_argument("--unfinished", action="store_true", help="unfinished events only")
    which.add_argument(
        "--id", metavar="N", type=count, action="append", dest="ids", help="of this event; may be repeated"
    )
    which.add_argument("--collector", metavar="KEY", help="dead letters of this collector")
    which.add_argument("--all", action="store_true", help="replay or drop all of them")
    parser.add_argument("--json", action="store_true", help="write a line of JSON for each")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status.

    Raises:
        UsageError: what was asked for cannot work.

    """
    changing = options.action in ("replay", "drop")
    if changing and not (options.ids or options.collector or options.all):
        raise UsageError(f"say which to {options.action}: --id N, --collector KEY or --all")
    if options.action == "replay" and options.unfinished:
        raise UsageError("unfinished events run at the next start anyway: replay is for dead letters")
    try:
        with closing(JournalFile(options.path, create=False, read_only=not changing)) as file:
            return {"list": _list, "count": _count, "replay": _replay, "drop": _drop}[options.action](
                file, options
            )
    except JournalError as exc:
        raise UsageError(str(exc)) from None


class _Choice(NamedTuple):
    """What was chosen of a journal."""

    events: list[StoredEvent]
    letters: list[StoredLetter]


def _chosen(file: JournalFile, options: argparse.Namespace) -> _Choice:
    ids = set(options.ids or ())
    events = [] if options.dead or options.collector else [e for e in file.events() if not ids or e.id in ids]
    letters = [
        letter
        for letter in (() if options.unfinished else file.dead_letters())
        if (not ids or letter.event.id in ids) and options.collector in (None, letter.collector)
    ]
    return _Choice(events, letters)


def _list(file: JournalFile, options: argparse.Namespace) -> int:
    events, letters = _chosen(file, options)
    _write(_lines(map(_of_event, events), as_json=options.json))
    _write(_lines(map(_of_letter, letters), as_json=options.json))
    return 0


def _count(file: JournalFile, options: argparse.Namespace) -> int:
    events, letters = _chosen(file, options)
    counts = {"unfinished": len(events), "dead": len(letters)}
    _write(
        [msgspec.json.encode(counts).decode()]
        if options.json
        else [f"{kind} {number}" for kind, number in counts.items()]
    )
    return 0


def _replay(file: JournalFile, options: argparse.Namespace) -> int:
    letters = _chosen(file, options).letters
    _refuse_missing(options, (letter.event.id for letter in letters))
    number = file.replay(letters)
    return _tell(
        options, "replayed", number, f"{_many(number, 'dead letter')} will run again at the next start"
    )


def _drop(file: JournalFile, options: argparse.Namespace) -> int:
    events, letters = _chosen(file, options)
    if not options.unfinished:
        events = []
    _refuse_missing(options, [*(event.id for event in events), *(letter.event.id for letter in letters)])
    changes = Changes()
    for event in events:
        changes.finish(event.id)
    for letter in letters:
        changes.drop(letter.event.id, letter.collector)
    file.apply(changes)
    what = "unfinished event" if options.unfinished else "dead letter"
    number = len(events) + len(letters)
    return _tell(options, "dropped", number, f"{_many(number, what)} dropped")


def _refuse_missing(options: argparse.Namespace, found: Iterable[int]) -> None:
    missing = sorted(set(options.ids or ()) - set(found))
    if missing:
        what = "unfinished event" if options.unfinished else "dead letter"
        raise UsageError(
            f"there is no {what} {', '.join(map(str, missing))} in {options.path}: nothing was changed"
        )


def _tell(options: argparse.Namespace, what: str, number: int, text: str) -> int:
    _write([msgspec.json.encode({what: number}).decode() if options.json else text])
    return 0


def _of_event(event: StoredEvent) -> dict[str, Any]:
    try:
        attempts, due = StoredProgress.decode(event.progress)
    except ValueError:  # damaged: the next start will say so
        attempts, due = StoredProgress({})
    return {
        "state": "unfinished",
        "id": event.id,
        "accepted": _time(event.accepted),
        "attempts": {key: attempt.made for key, attempt in attempts.items()},
        "error": "; ".join(attempt.error for attempt in attempts.values() if attempt.error),
        "due": None if due is None else _time(due),
        "crashes": event.crashes,
        **_payload(event),
    }


def _of_letter(letter: StoredLetter) -> dict[str, Any]:
    return {
        "state": "dead",
        "id": letter.event.id,
        "accepted": _time(letter.event.accepted),
        "died": _time(letter.time),
        "collector": letter.collector or None,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "error": letter.error,
        **_payload(letter.event),
    }


def _payload(record: StoredEvent) -> dict[str, Any]:
    """Return what was sent, as far as it can be told without its type."""
    told: dict[str, Any] = {"type": record.schema}
    if not record.is_sound:
        return told | {"damaged": True}
    try:
        payload = decode_untyped(record)
        if (line := payload._headers.origin) is not None:
            told["line"] = line
        told["value"] = msgspec.Raw(msgspec.json.encode(payload.value))
    except Exception as exc:  # what msgpack can tell and JSON cannot
        told["value"] = None
        told["bytes"] = len(record.body)
        told["problem"] = str(exc)
    return told


def _lines(entries: Iterable[dict[str, Any]], *, as_json: bool) -> Iterator[str]:
    for entry in entries:
        yield msgspec.json.encode(entry).decode() if as_json else _text(entry)


def _text(entry: dict[str, Any]) -> str:
    """Return a line for people: nothing that was stored can control their terminal."""
    parts = [entry["state"], str(entry["id"])]
    if entry["state"] == "dead":
        parts += [entry["collector"] or "-", entry["reason"], entry["died"]]
    else:
        tried = sum(entry["attempts"].values())
        parts += [entry["accepted"], f"{_many(tried, 'attempt')}"]
    parts += [entry["type"], "damaged" if "damaged" in entry else bytes(entry["value"] or b"?").decode()]
    if entry["error"]:
        parts.append(f"({entry['error']})")
    line = printable("  ".join(parts))
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def _write(lines: Iterable[str]) -> None:
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # the interpreter would flush it once more
        raise SystemExit(0) from None


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
