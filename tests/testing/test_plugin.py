"""The pytest plugin in the suites of others; docs/testing.md has it beside pytest-asyncio, this suite beside anyio."""

import os
import subprocess
import sys
from pathlib import Path

SUITE = """
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
HANDLERS = """
import threading

def succeed_at_second(payload, ctx):
    if payload.attempt < 2:
        raise ConnectionError("refused")
    return threading.current_thread().name
"""
OTHERS = ("asyncio", "anyio", "xdist", "timeout", "benchmark", "hypothesispytest")


def test_the_fixtures_need_no_other_plugin_and_import_nothing_unused(tmp_path: Path) -> None:
    """A suite with warnings as errors has clock and workers, in tests that run a loop themselves."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "test_suite.py").write_text(SUITE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"-pno:{one}" for one in OTHERS)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
