"""The history of the plots, replays, and what a page asks for again and again."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from event_collector.watching.details import encode_details
from event_collector.watching.snapshot import encode_snapshot
from event_collector.web.history import DAY, HOUR, NAMES, STEP, History
from event_collector.web.line_recorder import LineRecorder
from event_collector.web.news import news_of
from event_collector.web.replay import RecordedLines, Replay
from event_collector.web.watched import MOST_SPANS, WINDOW, Watched
from tests.web.sample_data import BEGIN, HOSTILE, details, snapshot, watched


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


def test_an_hour_is_kept_by_the_second_and_a_day_by_ten() -> None:
    """Memory is bounded, windows get what they cover, and points of the day are means."""
    history = History()
    for second in range(DAY + 5 * HOUR):
        history.add({"time": float(second), "queued": float(second % 10)})
    hour, day, minute = history.columns(HOUR), history.columns(DAY), history.columns(60)
    assert (hour["step"], len(hour["time"])) == (1, HOUR)
    assert (day["step"], len(day["time"])) == (STEP, DAY // STEP)
    assert minute["time"] == [float(second) for second in range(DAY + 5 * HOUR - 61, DAY + 5 * HOUR)]
    assert set(day["queued"]) == {4.5}
    assert set(hour["cpus"]) == {None}
    assert sum(len(column) for name, column in hour.items() if name in NAMES) == HOUR * len(NAMES)


def test_the_task_stream_keeps_a_minute() -> None:
    """Spans that are older than the window are dropped, and a page gets each span once."""
    one = watched(seconds=300)
    spans = list(one.spans())
    assert len(spans) <= MOST_SPANS
    assert min(span.end for span in spans) >= BEGIN + 299 - WINDOW
    first = news_of(one, 0)
    assert len(first["spans"]) == len(spans)
    assert news_of(one, first["spans_end"])["spans"] == []
    one.take_details(details(300))
    assert len(news_of(one, first["spans_end"])["spans"]) == 4
    assert "spans" not in news_of(one, None)


def test_a_new_program_begins_a_new_task_stream() -> None:
    """When another process answers at the socket, what was known of the old one is no longer shown."""
    one = watched()
    one.take(snapshot(4, pid=1))
    assert one.details is None
    assert list(one.spans()) == []
    assert one.history.last["error_rate"] is None


def record(path: Path, seconds: int) -> RecordedLines:
    """Write what a queue sends in some seconds, with a cut line at the end."""
    lines = [
        line
        for second in range(seconds)
        for line in (encode_snapshot(snapshot(second)), encode_details(details(second)))
    ]
    path.write_bytes(b"".join(lines) + b'{"version":1,"time"')
    return RecordedLines(path)


async def test_a_recording_plays_and_can_be_moved(tmp_path: Path) -> None:
    """It shows what the page showed, stands at its end, and goes back with the history up to there."""
    one = Watched(1, "x", is_replay=True)
    replay = Replay(record(tmp_path / "x.ndjson", 50), one)
    replay.play(speed=100)
    running = asyncio.create_task(replay.run())
    async with asyncio.timeout(30):
        while replay.index < 49:
            await asyncio.sleep(0.01)
    assert one.snapshot == snapshot(49)
    assert one.connection == "replay"
    replay.play(speed=0)
    await replay.seek(10.0)
    assert (one.snapshot, one.details) == (snapshot(10), details(10))
    assert one.history.columns(60)["time"] == [BEGIN + second for second in range(11)]
    assert (replay.length, replay.position) == (49.0, 10.0)
    running.cancel()


def lines_of(second: int) -> tuple[bytes, bytes]:
    """Return what a queue sends in a second; the settings come with the first."""
    settings = details(second).settings if second == 0 else None
    return encode_snapshot(snapshot(second)), encode_details(replace(details(second), settings=settings))


async def test_a_recording_keeps_its_bound(tmp_path: Path) -> None:
    """Of the lines, the newest fill at least half of it; they are replayed as one, with the settings of the start."""
    path, ends = tmp_path / "x.ndjson", list[str]()
    recording, limit, last = LineRecorder(str(path), 100_000, ends.append), 100_000, 199
    for second in range(last + 1):
        for line in lines_of(second):
            recording.write(line)
        assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= limit + 2 * sum(map(len, lines_of(0)))
    recording.close()
    played = RecordedLines(path)
    assert played.times == [BEGIN + second for second in range(last + 1 - len(played), last + 1)]
    assert limit / 2 < sum(one.stat().st_size for one in tmp_path.iterdir())
    assert len(played) < last
    for part in (path, tmp_path / "x.ndjson.1"):
        one = Watched(1, "x", is_replay=True)
        replay = Replay(RecordedLines(part), one)
        await replay.seek(3.0)
        assert one.settings.keys() == {HOSTILE}
    assert ends == []


def test_a_recording_that_cannot_go_on_ends(tmp_path: Path) -> None:
    """The reason is told once, and the page goes on. A file that exists is never written over."""
    (folder := tmp_path / "f").mkdir()
    ends = list[str]()
    recording = LineRecorder(str(folder / "x"), 20_000, ends.append)
    recording.write(lines_of(0)[0])
    (folder / "x").unlink()
    for second in range(50):
        for line in lines_of(second):
            recording.write(line)
    assert len(ends) == 1
    assert list(folder.iterdir()) == []
    (folder / "y.1").touch()
    with pytest.raises(FileExistsError):
        LineRecorder(str(folder / "y"), 20_000, ends.append)
    assert not (folder / "y").exists()


@pytest.mark.parametrize("text", ["", "{}\n", "hello\n", '{"version": 99}\n'])
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    """The error says which line is wrong, or that there is nothing."""
    path = tmp_path / "x.ndjson"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"line 1 of x.ndjson: |no snapshot"):
        RecordedLines(path)
