"""Requests to a control socket, and the answers to them: a line of JSON each, typed and bounded.

    connect --> request --> answer --> request --> answer ... --> disconnect

Every request gets one answer, in order. An action has `dry_run`: the answer then says what it would do, and nothing is
done. What is read is data: decoding cannot execute anything. Times are in seconds.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from event_collector.watching.stack_socket import ProcessStack

SUFFIX: Final = ".control"
"""What the path of the control socket has after that of the monitor socket."""
LONGEST_REQUEST: Final = 64 * 1024
"""Bytes of a request at most, without its newline."""
LONGEST_ANSWER: Final = 32 * 1024 * 1024
"""Bytes that a client accepts. Answers are kept below this by their bounds."""
MOST_LETTERS: Final = 1000
LONGEST_PROFILE: Final = 60.0
MOST_WORKERS: Final = 10_000
MOST_CONSUMERS: Final = 100_000_000

Key = Annotated[str, msgspec.Meta(max_length=4096)]
Line = Annotated[str, msgspec.Meta(max_length=16_384)]
EventId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
ProcessId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dead letters that match every field that is given; all of them if none is."""

    event: EventId | None = None
    """The id of the event."""
    collector: Key | None = None
    reason: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    """As `DeadLetter.reason`, such as "exhausted"."""
    error: Line | None = None
    """The first line of the error, "ValueError: no such order", or its class alone, "ValueError"."""


class _TaggedRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="verb"):
    pass


class _Action(_TaggedRequest, frozen=True, kw_only=True):
    dry_run: bool = False
    """Say what it would do, and do nothing."""


class PauseRequest(_Action, frozen=True, kw_only=True, tag="pause"):
    """Begin no more events of a collector, or of the queue. What runs goes on."""

    collector: Key | None = None
    """Its key; None for the whole queue."""


class ResumeRequest(_Action, frozen=True, kw_only=True, tag="resume"):
    """End a pause. The pause of the queue and those of collectors are apart."""

    collector: Key | None = None


class ResizeRequest(_Action, frozen=True, kw_only=True, tag="resize"):
    """Change the upper bounds of the pools. What runs beyond them finishes first."""

    max_workers: Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)] | None = None
    max_consumers: Annotated[int, msgspec.Meta(ge=1, le=MOST_CONSUMERS)] | None = None


class ReplaceRequest(_Action, frozen=True, kw_only=True, tag="replace"):
    """Replace a worker process. It serves until its successor is ready, and loses no event."""

    worker: ProcessId
    """Its process id, or its number."""


class CancelRequest(_Action, frozen=True, kw_only=True, tag="cancel"):
    """Cancel an event that waits or runs, as `event.cancel()` does."""

    event: EventId


class LettersRequest(_TaggedRequest, frozen=True, kw_only=True, tag="letters"):
    """List dead letters: groups by collector and error, and single ones."""

    selection: Selection = Selection()
    limit: Annotated[int, msgspec.Meta(ge=0, le=MOST_LETTERS)] = 100
    """Letters that the answer has, the newest first. The groups count all of them."""


class ReplayRequest(_Action, frozen=True, kw_only=True, tag="replay"):
    """Send dead letters to their collectors again, as new events."""

    selection: Selection


class DropRequest(_Action, frozen=True, kw_only=True, tag="drop"):
    """Remove dead letters for good."""

    selection: Selection


class StackRequest(_TaggedRequest, frozen=True, kw_only=True, tag="stack"):
    """Take the stacks of the program's threads and of its workers now."""

    pid: ProcessId | None = None
    """One process only; None for all."""


class ProfileRequest(_TaggedRequest, frozen=True, kw_only=True, tag="profile"):
    """Take stacks for some time, and count equal ones. The answer comes at the end."""

    pid: ProcessId | None = None
    """One process only; None for all."""
    seconds: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_PROFILE)] = 10.0
    interval: Annotated[float, msgspec.Meta(ge=0.005, le=10)] = 0.02
    """Seconds between two looks at a process."""


class DrainRequest(_Action, frozen=True, kw_only=True, tag="drain"):
    """Begin the shutdown: no more events are accepted, accepted ones are finished. The answer does not wait for it."""


class StateRequest(_TaggedRequest, frozen=True, kw_only=True, tag="state"):
    """Ask what can be controlled: pauses, bounds, dead letters."""


Request: TypeAlias = (
    PauseRequest
    | ResumeRequest
    | ResizeRequest
    | ReplaceRequest
    | CancelRequest
    | LettersRequest
    | ReplayRequest
    | DropRequest
    | StackRequest
    | ProfileRequest
    | DrainRequest
    | StateRequest
)


class Done(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="done"):
    """An action was carried out, or, with `dry_run`, could be."""

    text: str
    """One line, such as "paused collector 'bill': 12 events wait"."""
    count: int
    """How many things it has touched: events, letters, workers, pools. 0: everything was as wanted already."""
    dry_run: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="failed"):
    """A request was refused, or an action could not be carried out."""

    text: str
    """One line: what is wrong, and what to do about it."""


class LetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one collector whose errors have the same class and first line."""

    collector: str
    error: str
    """The first line; `Selection(collector=..., error=...)` with both selects the group."""
    count: int
    first: float
    """Time of the oldest, in seconds since 1970, UTC."""
    last: float
    reasons: dict[str, int]
    trace: str
    """Traceback of the newest; clipped, and empty if there is none."""


class LetterSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, without its payload unless the monitor was made with `payloads=True`."""

    event: int
    collector: str
    attempts: int
    reason: str
    error: str
    trace: str
    time: float
    """Seconds since 1970, UTC."""
    payload: str | None = None
    """Its `repr()`, clipped."""


class LetterPage(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="letters"):
    """Dead letters that match a selection."""

    total: int
    groups: list[LetterGroup]
    """The largest first, 1000 at most."""
    letters: list[LetterSummary]


class StackPage(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="stacks"):
    """Stacks at one instant."""

    stacks: list[ProcessStack]


class FoldedStack(msgspec.Struct, frozen=True, array_like=True):
    """A stack and how often it was seen."""

    pid: int
    subject: str
    """Such as "worker 2"."""
    frames: list[str]
    """The outermost first, each "function (file:line of the call)"."""
    count: int


class ProfilePage(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="profile"):
    """The stacks of a profile, the most frequent first."""

    seconds: float
    looks: int
    """How often each process was looked at."""
    stacks: list[FoldedStack]
    note: str = ""
    """How the stacks were taken, and why not by py-spy, if that is installed."""


class ControlState(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="state"):
    """What can be controlled."""

    queue: str
    state: str
    """starting, running, draining or stopped."""
    is_paused: bool
    paused_collectors: list[str]
    collectors: list[str]
    max_workers: int
    max_consumers: int
    dead_letters: int


Answer: TypeAlias = Done | Failed | LetterPage | StackPage | ProfilePage | ControlState

encode_message: Final = msgspec.json.Encoder().encode
decode_request: Final = msgspec.json.Decoder(Request).decode
decode_answer: Final = msgspec.json.Decoder(Answer).decode
