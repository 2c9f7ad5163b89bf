"""The pytest plugin in suites of others: it works with every way to run coroutines, and costs nothing unused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

USE = """
import asyncio, sys
import pytest

def test_nothing_is_imported_before_it_is_used():
    ours = {name for name in sys.modules if name.startswith("event_collector")}
    assert ours == {"event_collector", "event_collector.testing", "event_collector.testing.plugin"}

async def use(clock):
    from event_collector import Collector, CollectorQueue, Payload, Retry
    from event_collector.testing import assert_ok
    import handlers

    retry = Retry(max_attempts=3, backoff=60.0, jitter=0.0)
    async with CollectorQueue([Collector("c", handlers.succeed_at_second, retry=retry)]) as queue:
        event = await queue.get_publisher().send(Payload(1))
        await clock.advance(60.0)
        assert assert_ok(event) == "in-process worker"

def test_plain(manual_clock, in_process_workers):
    asyncio.run(use(manual_clock))
"""
USE_WITH_PLUGINS = """
@pytest.mark.asyncio
async def test_pytest_asyncio(manual_clock, in_process_workers):
    await use(manual_clock)

@pytest.mark.anyio
async def test_anyio(manual_clock, in_process_workers):
    await use(manual_clock)

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
HANDLERS = """
import threading

def succeed_at_second(payload, ctx):
    if payload.attempt < 2:
        raise ConnectionError("refused")
    return threading.current_thread().name
"""
OTHERS = ("asyncio", "anyio", "xdist", "timeout", "benchmark", "hypothesispytest")


@pytest.mark.parametrize(
    ("suite", "options", "passed"),
    [
        (USE + USE_WITH_PLUGINS, ["-o", "asyncio_default_fixture_loop_scope=function"], 4),
        (USE, [f"-pno:{name}" for name in OTHERS], 2),
    ],
    ids=["with pytest-asyncio and anyio", "with no other plugin"],
)
def test_the_fixtures_work_in_the_suites_of_others(
    suite: str, options: list[str], passed: int, tmp_path: Path
) -> None:
    """A suite with warnings as errors has clock and workers, however it runs coroutines, and imports nothing unused."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "test_suite.py").write_text(suite)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr
