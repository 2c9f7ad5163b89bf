"""The progress of streams: a function that is called, or a bar."""

import sys
from typing import Any

import pytest

from event_collector import Collector, ConfigError
from tests.event_collector.calls import chunk_handlers as handlers
from tests.event_collector.modes import running


async def invert(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize("mode", ["coroutine", "process"])
async def test_a_function_gets_the_counts(mode: str) -> None:
    """With the number of values if they have a length, and of errors; at last all of them."""
    act = Collector("act", invert, mode=mode)
    calls: list[tuple[Any, ...]] = []
    async with running(act) as queue:
        results = [r async for r in queue.stream(act, range(20), progress=lambda *counts: calls.append(counts))]
        assert len(results) == 20
        assert calls[0] == (1, 20, 1)
        assert calls[-1] == (20, 20, 1)
        calls.clear()
        values = iter(range(1, 20))
        assert len([v async for v in queue.map(act, values, progress=lambda *counts: calls.append(counts))]) == 19
        assert calls[-1] == (19, None, 0)


async def test_an_error_of_the_function_ends_the_stream() -> None:
    act = Collector("act", handlers.increase, mode="process")

    def report(_done: int, _total: int | None, _errors: int) -> None:
        raise OSError("nowhere to report to")

    async with running(act) as queue:
        with pytest.raises(OSError, match="nowhere"):
            [result async for result in queue.stream(act, range(5), progress=report)]
        assert await queue.call(act, 1) == 2


async def test_a_bar_shows_how_many_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    act = Collector("act", invert, mode="coroutine")
    async with running(act) as queue:
        assert len([r async for r in queue.stream(act, range(30), progress=True)]) == 30
    shown = capsys.readouterr().err
    assert "30/30" in shown
    assert "1 errors" in shown


async def test_a_bar_needs_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install it, at the call."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    act = Collector("act", invert, mode="coroutine")
    async with running(act) as queue:
        with pytest.raises(ConfigError, match=r"pip install 'event-collector-hybrid\[progress\]'"):
            queue.stream(act, range(3), progress=True)


async def test_anything_else_is_refused() -> None:
    act = Collector("act", invert, mode="coroutine")
    async with running(act) as queue:
        with pytest.raises(ConfigError, match="progress takes True or a function of"):
            queue.stream(act, range(3), progress="bar")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match='chunk takes "auto", a whole number'):
            queue.stream(act, range(3), chunk=0)
        with pytest.raises(ConfigError, match='chunk takes "auto", a whole number'):
            queue.map(act, range(3), chunk="large")  # type: ignore[arg-type]
