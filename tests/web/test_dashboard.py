"""The page inside the program that has the queue, and the command that serves it from outside."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from event_collector import Collector, CollectorQueue, ConfigError, Context, Payload
from event_collector.sync import Queue
from event_collector.web import dashboard, local_reader
from event_collector.web.replay import RecordedLines
from tests.event_collector.modes import BOUND, running
from tests.packaging.test_imports import loaded_by
from tests.web.browsing import Program, serving, until

ROOT = Path(__file__).parents[2]


async def store(payload: Payload[int], ctx: Context) -> None:
    """Do nothing."""


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@asynccontextmanager
async def visiting(queue: CollectorQueue, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Mount the page of a queue, and be a browser that can visit it."""
    app = Starlette(routes=[Mount("/queue", dashboard(queue, **options))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as browser:
        yield browser


async def news_with_details(browser: httpx.AsyncClient) -> dict[str, Any]:
    """Return the first news that have more than snapshots."""
    news: dict[str, Any] = {"ticks": -1}
    async with asyncio.timeout(BOUND):
        while "time" not in news:
            news = (await browser.get(f"/queue/1/news?ticks={news['ticks']}&spans=1")).json()
    return news


@pytest.mark.parametrize("has_monitor", [False, True])
async def test_a_program_mounts_the_page_of_its_queue(tmp_path: Path, has_monitor: bool) -> None:
    """Links lead below the mount; while a page asks, the queue is inspected, with a monitor or without."""
    monitor = str(tmp_path / "q.sock") if has_monitor else None
    async with running(Collector("store", store), monitor=monitor) as queue, visiting(queue) as browser:
        assert (await browser.get("/queue/")).headers["location"] == "/queue/1/"
        await news_with_details(browser)
        await queue.get_publisher().send(Payload(1))
        await queue.get_publisher().wait()
        async with asyncio.timeout(BOUND):
            while "1 in all" not in (page := (await browser.get("/queue/1/")).text):
                await asyncio.sleep(0.05)
        assert 'data-here="/queue/1"' in page
        assert "data-csrf" not in page
        assert "store" in (await browser.get("/queue/1/collectors?open=store")).text
        assert (await browser.get("/queue/static/page.css")).status_code == 200
        assert (await browser.post("/queue/1/control", json={"verb": "drain"})).status_code == 403


def is_inspected(queue: CollectorQueue) -> bool:
    """Return whether something beside the queue itself watches its failures."""
    return queue._dispatcher.ending._failures is not queue._engine.failures


async def test_a_queue_is_inspected_only_while_a_page_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is recorded before the first visit and a while after the last; two pages do not disturb each other."""
    monkeypatch.setattr(local_reader, "LINGER", 2.0)
    monkeypatch.setattr(local_reader, "INTERVAL", 0.05)
    async with running(Collector("store", store)) as queue, visiting(queue) as browser, visiting(queue) as other:
        assert not is_inspected(queue)
        news = await news_with_details(browser)
        assert is_inspected(queue)
        while (await other.get("/queue/1/news?spans=1")).json()["connection"] != "live":
            pass
        assert "time" not in (await other.get("/queue/1/news?spans=1")).json()
        async with asyncio.timeout(BOUND):
            while (await browser.get("/queue/1/news?spans=1")).json()["time"] == news["time"]:
                pass
            while is_inspected(queue):
                await asyncio.sleep(0.05)
        await news_with_details(other)
        assert is_inspected(queue)


def test_a_page_inspects_a_queue_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and their end run in the event loop of the queue, and the page has the attempts of its handlers."""
    monkeypatch.setattr(local_reader, "LINGER", 2.0)

    async def visit(inner: CollectorQueue) -> None:
        async with asyncio.timeout(BOUND), visiting(inner) as browser:
            news = await news_with_details(browser)
            await asyncio.to_thread(queue.call, "store", 1)
            while not news["spans"]:
                news = (await browser.get(f"/queue/1/news?ticks={news['ticks']}&spans=1&after=0")).json()
            assert news["keys"] == ["store"]
            while is_inspected(inner):
                await asyncio.sleep(0.05)

    with Queue([Collector("store", store)], logging=False) as queue:
        asyncio.run(visit(queue._queue))


def test_a_monitor_that_is_none_is_refused() -> None:
    """The error comes when the page is made."""
    with pytest.raises(ConfigError):
        dashboard(CollectorQueue([Collector("store", store)]), monitor="x" * 200)


def web(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "event_collector", "web", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """Each mistake is one line and status 2, before anything listens."""
    shared, short, broken = tmp_path / "shared", tmp_path / "short", tmp_path / "broken.json"
    shared.write_text("a token that is long enough\n")
    shared.chmod(0o644)
    short.write_text("short")
    short.chmod(0o600)
    broken.write_text("{}")
    for arguments, reason in (
        (["q.sock", "--host", "0.0.0.0"], "lets others reach the page: name a --token-file"),
        (["q.sock", "--token-file", str(tmp_path / "none")], "cannot read the token file"),
        (["q.sock", "--token-file", str(shared)], "chmod 600"),
        (["q.sock", "--token-file", str(short)], "fewer than 16 characters"),
        (["q.sock", "--record", str(short)], "exists: record to a new file"),
        (["a.sock", "b.sock", "--record", str(tmp_path / "r")], "--record takes the lines of one socket"),
        (["q.sock", "--record", str(tmp_path / "r"), "--record-limit", "5"], "takes a number of bytes from 1000000 on"),
        ([str(shared)], "line 1 of shared: "),
        ([str(broken)], "no report of `event-collector bench --json`"),
    ):
        done = web(*arguments, "--port", "0")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_command_records_what_it_shows(tmp_path: Path) -> None:
    """The file has the lines of the socket, and can be replayed while it grows."""
    program, path = Program(tmp_path / "q.sock"), tmp_path / "r.ndjson"
    try:
        with serving(str(tmp_path / "q.sock"), "--record", str(path)):
            until(lambda: path.stat().st_size > 0, "a line")
            until(lambda: len(RecordedLines(path)) > 1, "a second snapshot")
            until(lambda: b'"settings":[{' in path.read_bytes(), "details")
    finally:
        program.kill()


def test_the_watched_program_imports_nothing_of_the_page() -> None:
    """A queue with a monitor loads neither the page nor what serves it, and the page names the extra it needs."""
    modules = loaded_by(
        "from event_collector import *\nimport event_collector.life.monitoring, event_collector.control\n"
        "CollectorQueue([], monitor='q.sock')"
    )
    assert {
        name for name in modules if name.startswith(("event_collector.web", "starlette", "uvicorn", "jinja2"))
    } == set()


@pytest.mark.parametrize("missing", ["starlette", "jinja2"])
def test_without_the_extra_the_error_has_the_command_that_installs_it(missing: str) -> None:
    """Both doors name it: the function and the command."""
    block = f"import sys; sys.modules[{missing!r}] = None\n"
    line = "pip install 'event-collector-hybrid[web]'"
    for code in (
        "from event_collector.web import dashboard",
        "from event_collector.cli import main; sys.exit(main(['web', 'q.sock']))",
    ):
        done = subprocess.run(
            [sys.executable, "-c", block + code], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode != 0
        assert line in done.stderr.splitlines()[-1]
