"""News of a queue for a page that is open: a point for the plots, and what is new in the task stream."""

from typing import Any, Final

from event_collector.watching.details import HERE, EventInHandler, RowUse, TaskSpan
from event_collector.web.views import decisions
from event_collector.web.watched import StreamRow, Watched

OUTCOMES: Final = {"ok": 0, "error": 1, "killed": 2}
MOST_RUNNING: Final = 300


def news_of(watched: Watched, after: int | None) -> dict[str, Any]:
    """Return the news; with `after`, the spans of the task stream after that number too."""
    news: dict[str, Any] = {
        "ticks": watched.ticks,
        "connection": watched.connection,
        "silence": watched.silence,
        "point": watched.history.last or None,
        "decisions": decisions(watched),
        "spans_end": after or 0,
    }
    if after is None or watched.snapshot is None or watched.details is None:
        return news
    keys = [one.key for one in watched.snapshot.collectors]
    places = {key: index for index, key in enumerate(keys)}
    last, spans = watched.spans_after(after)
    running = watched.details.running[:MOST_RUNNING]
    used = [(row_of(watched, row), row.pid, share) for row, share in watched.use_of_rows()]
    shown = [row for row, _, _ in used] + [row_of(watched, one) for one in spans]
    shown += [row_of(watched, one) for one in running]
    return news | {
        "time": watched.details.time,
        "keys": keys,
        "spans_end": last,
        "spans": [_span(one, row_of(watched, one).place, places) for one in spans],
        "rows": [(HERE, watched.snapshot.pid, None), *((row.place, pid, share) for row, pid, share in used)],
        "names": dict(shown),
        "running": [_running(one, row_of(watched, one).place, places, watched.details.time) for one in running],
    }


def row_of(watched: Watched, one: RowUse | TaskSpan | EventInHandler) -> StreamRow:
    """Return the row of the task stream to which something belongs."""
    return watched.row_of(one.worker, one.pid)


def _span(one: TaskSpan, row: int, places: dict[str, int]) -> tuple[Any, ...]:
    return (
        row, one.pid, places.get(one.collector, -1), round(one.begin, 5), round(one.end, 5),
        OUTCOMES[one.outcome], one.event, one.events, one.stands_for,
    )  # fmt: skip


def _running(one: EventInHandler, row: int, places: dict[str, int], now: float) -> tuple[Any, ...]:
    return row, one.pid, places.get(one.collector or "", -1), round(now - one.age, 5), one.event
