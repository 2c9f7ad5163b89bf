"""`event-collector journal`: lists, replays and drops the records of a journal."""

import argparse
import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec

from event_collector.command.options import UsageError, add_command, count
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_codec import decode_untyped
from event_collector.journal.stored_event import Changes, StoredEvent, StoredLetter, StoredProgress
from event_collector.values.errors import JournalError
from event_collector.values.json_values import encode_json
from event_collector.watching.tables import plural, printable

ACTIONS = ("list", "count", "replay", "drop")
WIDTH = 200  # characters of a line of text; --json has the rest

DESCRIPTION = """\
Look into the journal of a queue: its unfinished events, which run at the next start, and its dead letters.

  list     write one line for each (the default)
  count    write their numbers
  replay   turn dead letters into events, which run at the next start, under new ids, for the collector that failed
  drop     delete dead letters, or unfinished events with --unfinished

list and count work while a queue uses the journal; replay and drop do not.
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
    parser = add_command(
        subparsers, "journal", run, "look into a journal, run its dead letters again", DESCRIPTION, EPILOG
    )
    parser.add_argument("path", metavar="PATH", help="the journal")
    parser.add_argument(
        "action", metavar="ACTION", nargs="?", choices=ACTIONS, default="list", help="list, count, replay or drop"
    )
    selection = parser.add_argument_group("selection")
    kind = selection.add_mutually_exclusive_group()
    kind.add_argument("--dead", action="store_true", help="dead letters only")
    kind.add_argument("--unfinished", action="store_true", help="unfinished events only")
    selection.add_argument(
        "--id", metavar="N", type=count, action="append", dest="ids", help="this event; may be repeated"
    )
    selection.add_argument("--collector", metavar="KEY", help="dead letters of this collector")
    selection.add_argument("--all", action="store_true", help="replay or drop all of them")
    parser.add_argument("--json", action="store_true", help="write a line of JSON for each")


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    changing = options.action in ("replay", "drop")
    if changing and not (options.ids or options.collector or options.all):
        raise UsageError(f"say which to {options.action}: --id N, --collector KEY or --all")
    if options.action == "replay" and options.unfinished:
        raise UsageError("unfinished events run at the next start anyway: replay is for dead letters")
    try:
        with closing(JournalFile(options.path, create=False, read_only=not changing)) as file:
            return {"list": _list, "count": _count, "replay": _replay, "drop": _drop}[options.action](file, options)
    except JournalError as exc:
        raise UsageError(str(exc)) from None


def _select(file: JournalFile, options: argparse.Namespace) -> tuple[list[StoredEvent], list[StoredLetter]]:
    ids = set(options.ids or ())
    events = [] if options.dead or options.collector else [e for e in file.events() if not ids or e.id in ids]
    letters = [
        letter
        for letter in (() if options.unfinished else file.dead_letters())
        if (not ids or letter.event.id in ids) and options.collector in (None, letter.collector)
    ]
    return events, letters


def _list(file: JournalFile, options: argparse.Namespace) -> int:
    events, letters = _select(file, options)
    entries = chain(map(_describe_event, events), map(_describe_letter, letters))
    _write(msgspec.json.encode(entry).decode() if options.json else _text(entry) for entry in entries)
    return 0


def _count(file: JournalFile, options: argparse.Namespace) -> int:
    events, letters = _select(file, options)
    counts = {"unfinished": len(events), "dead": len(letters)}
    lines = [f"{kind} {number}" for kind, number in counts.items()]
    _write([msgspec.json.encode(counts).decode()] if options.json else lines)
    return 0


def _replay(file: JournalFile, options: argparse.Namespace) -> int:
    _, letters = _select(file, options)
    _check_ids(options, (letter.event.id for letter in letters))
    number = file.replay(letters)
    return _report(options, "replayed", number, f"{plural(number, 'dead letter')} will run again at the next start")


def _drop(file: JournalFile, options: argparse.Namespace) -> int:
    events, letters = _select(file, options)
    if not options.unfinished:
        events = []
    _check_ids(options, [*(event.id for event in events), *(letter.event.id for letter in letters)])
    changes = Changes()
    for event in events:
        changes.finish(event.id)
    for letter in letters:
        changes.drop(letter.event.id, letter.collector)
    file.apply(changes)
    what = "unfinished event" if options.unfinished else "dead letter"
    number = len(events) + len(letters)
    return _report(options, "dropped", number, f"{plural(number, what)} dropped")


def _check_ids(options: argparse.Namespace, found: Iterable[int]) -> None:
    missing = sorted(set(options.ids or ()) - set(found))
    if missing:
        what = "unfinished event" if options.unfinished else "dead letter"
        raise UsageError(f"there is no {what} {', '.join(map(str, missing))} in {options.path}: nothing was changed")


def _report(options: argparse.Namespace, what: str, number: int, text: str) -> int:
    _write([msgspec.json.encode({what: number}).decode() if options.json else text])
    return 0


def _describe_event(event: StoredEvent) -> dict[str, Any]:
    try:
        attempts, due = StoredProgress.decode(event.progress)
    except ValueError:  # damaged: the next start reports it
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


def _describe_letter(letter: StoredLetter) -> dict[str, Any]:
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
    """Return the payload, as far as it can be decoded without its type."""
    fields: dict[str, Any] = {"type": record.schema}
    if not record.is_sound:
        return fields | {"damaged": True}
    try:
        payload = decode_untyped(record)
        if (line := payload._headers.origin) is not None:
            fields["line"] = line
        fields["value"] = msgspec.Raw(encode_json(payload.value))
    except Exception as exc:  # msgpack has values that JSON has not
        fields["value"] = None
        fields["bytes"] = len(record.body)
        fields["problem"] = str(exc)
    return fields


def _text(entry: dict[str, Any]) -> str:
    """Return a line of text. Control characters are escaped, so that a payload cannot control the terminal."""
    parts = [entry["state"], str(entry["id"])]
    if entry["state"] == "dead":
        parts += [entry["collector"] or "-", entry["reason"], entry["died"]]
    else:
        parts += [entry["accepted"], plural(sum(entry["attempts"].values()), "attempt")]
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
        sys.stdout = None  # else the interpreter flushes it at exit
        raise SystemExit(0) from None


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(seconds)
