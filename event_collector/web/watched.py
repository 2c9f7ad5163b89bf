"""A queue that is watched: its last snapshot and details, its history, and the connection to it."""

import asyncio
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Final, Literal, NamedTuple

from event_collector.watching.details import HERE, Details, RowUse, TaskSpan, TimeSplit, decode_details
from event_collector.watching.snapshot import Snapshot, decode_snapshot
from event_collector.web.history import History, point_of

SILENCE: Final = 3.0
"""Seconds without a snapshot after which the page says that the program does not answer."""
WINDOW: Final = 75.0
"""Seconds of the task stream that are kept: a minute, and what a page needs to scroll."""
PULSE: Final = 1.0
"""Seconds after which a page hears of a queue from which nothing has come."""
MOST_SPANS: Final = 40_000
MOST_NAMES: Final = 4096
"""Worker processes whose names are kept; those that have ended longest ago are forgotten."""
GROUP: Final = 100_000
"""Rows of the task stream between the first ones of two worker groups."""

Connection = Literal["waiting", "live", "silent", "gone", "replay"]
"""waiting: nothing has come yet; silent: connected, but nothing comes; gone: the program has ended."""


class StreamRow(NamedTuple):
    """A row of the task stream: its place among the others, and its name."""

    place: int
    name: str


class Watched:
    """One queue. A reader writes it, pages read it, both in one event loop."""

    def __init__(self, number: int, source: str, *, is_replay: bool = False) -> None:
        self.number, self.source, self.is_replay = number, source, is_replay
        self.snapshot: Snapshot | None = None
        self.details: Details | None = None
        self.settings: dict[str, object] = {}
        self.history = History()
        self.trouble = ""
        """Why nothing comes, in words; empty while all is well."""
        self.ticks = 0
        """Grows with each news."""
        self._spans: deque[tuple[int, TaskSpan]] = deque(maxlen=MOST_SPANS)
        self._last_span = 0
        self._names: dict[int, StreamRow] = {}  # of worker processes, by process id
        self._recent: deque[Details] = deque(maxlen=round(WINDOW) + 1)
        self._came = 0.0
        self._is_connected = False
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Watched {self.number} {self.source}: {self.connection}>"

    @property
    def name(self) -> str:
        """The id of the queue, or else its source."""
        return self.source if self.snapshot is None else self.snapshot.queue

    @property
    def connection(self) -> Connection:
        """How the connection does."""
        if not self._is_connected:
            return "waiting" if self.snapshot is None else "gone"
        if self.is_replay:
            return "replay"
        return "silent" if self.silence > SILENCE else "live"

    @property
    def silence(self) -> float:
        """Seconds since the last news of a queue; 0 before the first."""
        return monotonic() - self._came if self.snapshot is not None else 0.0

    async def wait_for_news(self, seen: int, timeout: float) -> None:
        """Return when there is news after `ticks == seen`, or after `timeout` seconds."""
        news = self._news
        if self.ticks == seen:
            try:
                await asyncio.wait_for(news.wait(), timeout)
            except TimeoutError:
                return

    def spans_after(self, number: int) -> tuple[int, list[TaskSpan]]:
        """Return the kept spans after one, and the number of the last."""
        found = []
        for at, span in reversed(self._spans):
            if at <= number:
                break
            found.append(span)
        return self._last_span, found[::-1]

    def spans(self) -> Iterator[TaskSpan]:
        """Yield the kept spans, oldest first."""
        return (span for _, span in self._spans)

    def use_of_rows(self, seconds: float = 60.0) -> list[tuple[RowUse, float]]:
        """Return for each row of the task stream its use over the last seconds, and the utilisation."""
        recent = self._last(seconds)
        elapsed = sum(one.elapsed for one in recent)
        latest: dict[int, RowUse] = {}
        busy: dict[int, float] = {}
        for details in recent:
            for row in details.rows:
                place = self.row_of(row.worker, row.pid).place
                latest[place] = row
                busy[place] = busy.get(place, 0.0) + row.seconds
        return [(latest[place], busy[place] / elapsed if elapsed else 0.0) for place in sorted(latest)]

    def row_of(self, worker: int, pid: int | None) -> StreamRow:
        """Return the row of a worker process, by its number and process id; HERE is that of the event loop."""
        if worker < 0:
            return StreamRow(HERE, "event loop")
        return self._names.get(pid or 0) or StreamRow(worker, f"worker {worker}")

    def time_splits(self, seconds: float = 60.0) -> dict[str, TimeSplit]:
        """Return for each collector where the time of its events went in the last seconds."""
        found: dict[str, list[TimeSplit]] = {}
        for details in self._last(seconds):
            for one in details.times:
                found.setdefault(one.collector, []).append(one)
        return {key: _mean(splits) for key, splits in found.items()}

    def _last(self, seconds: float) -> list[Details]:
        since = self.details.time - seconds if self.details is not None else 0.0
        return [one for one in self._recent if one.time > since]

    # For the reader

    def take_line(self, line: bytes) -> None:
        """Note a line of a monitor socket. A ValueError says that it is neither a snapshot nor details."""
        details = decode_details(line)
        if details is None:
            self.take(decode_snapshot(line))
        else:
            self.take_details(details)

    def take(self, snapshot: Snapshot) -> None:
        """Note a snapshot."""
        if self.snapshot is not None and self.snapshot.pid != snapshot.pid:
            self.details = None
            self._spans.clear()
            self._recent.clear()
            self._names.clear()
        self._note_names(snapshot)
        before, self.snapshot, self.trouble = self.snapshot, snapshot, ""
        self.history.add(point_of(snapshot, self.details, before))
        self._came, self._is_connected = monotonic(), True
        self._announce()

    def _note_names(self, snapshot: Snapshot) -> None:
        groups = {group.name: number for number, group in enumerate(snapshot.groups)}
        for one in snapshot.workers:
            self._names.pop(one.pid or 0, None)
            place = groups.get(one.group, 0) * GROUP + one.number
            self._names[one.pid or 0] = StreamRow(place, snapshot.worker_name(one))
        while len(self._names) > max(MOST_NAMES, len(snapshot.workers)):
            del self._names[next(iter(self._names))]

    def take_details(self, details: Details) -> None:
        """Note the details that belong to the last snapshot."""
        self.details = details
        self._recent.append(details)
        if details.settings is not None:
            self.settings = {one.key: one for one in details.settings}
        for span in details.spans:
            self._last_span += 1
            self._spans.append((self._last_span, span))
        while self._spans and self._spans[0][1].end < details.time - WINDOW:
            self._spans.popleft()
        self._announce()

    def forget(self) -> None:
        """Forget all that has come, before a replay goes back."""
        self.snapshot = self.details = None
        self.history = History()
        self._spans.clear()
        self._recent.clear()

    def lose(self, trouble: str) -> None:
        """Note that there is no connection."""
        self.trouble, self._is_connected = trouble, False
        self._announce()

    def _announce(self) -> None:
        self.ticks += 1
        news, self._news = self._news, asyncio.Event()
        news.set()


def _mean(splits: list[TimeSplit]) -> TimeSplit:
    """Return the mean of some seconds, weighed by their samples."""
    means: dict[str, float | None] = {}
    for name in ("queued", "encode", "transit", "handler", "decode"):
        known = [(getattr(one, name), one.samples) for one in splits if getattr(one, name) is not None]
        weight = sum(samples for _, samples in known)
        means[name] = sum(value * samples for value, samples in known) / weight if weight else None
    return TimeSplit(collector=splits[0].collector, samples=sum(one.samples for one in splits), **means)
