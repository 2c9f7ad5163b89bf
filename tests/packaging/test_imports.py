"""What is imported when: the package by itself next to nothing, a worker only what its handler needs."""

import json
import subprocess
import sys

import pytest

from event_collector import Collector, Payload
from event_collector.testing import assert_all_ok
from tests.event_collector.modes import running
from tests.packaging import sample_handler

HEAVY = {"asyncio", "concurrent.futures", "inspect", "logging", "msgspec", "multiprocessing", "psutil", "rich", "ssl",
         "structlog", "uvloop"}  # fmt: skip
"""What takes long to import, and not everybody needs."""


def loaded_by(code: str) -> set[str]:
    """Return the modules that a program has after this, warnings being errors."""
    program = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("event_collector")}


def test_the_packages_load_their_names_when_they_are_used() -> None:
    """Importing both packages loads nothing else of them, and nothing heavy."""
    modules = loaded_by("import event_collector, event_collector_workers, event_collector.testing")
    assert ours(modules) == {"event_collector", "event_collector_workers", "event_collector.testing"}
    assert modules & HEAVY == set()


def test_what_handlers_use_needs_no_event_loop() -> None:
    """A module that only defines handlers pays for payloads and results, and for no queue."""
    modules = loaded_by("from event_collector import Context, Error, Ok, Payload, Reject, Result, RetryLater")
    rooms = {
        "event_collector.values",
        *(f"event_collector.values.{name}" for name in ("checks", "context", "errors", "payload", "results")),
    }
    base = {f"event_collector_workers{name}" for name in ("", ".base_error", ".error_texts")}
    assert ours(modules) == {"event_collector", *rooms, *base}
    assert modules & HEAVY <= {"msgspec", "inspect"}  # typing_extensions, and so msgspec's users, import inspect


def test_a_queue_loads_nothing_that_it_may_not_need() -> None:
    """Journal, benchmark, command, testing kit, metrics for others: each is loaded by those who ask for it."""
    modules = ours(loaded_by("from event_collector import *"))
    optional = (
        "benchmark",
        "command",
        "journal.journal_recorder",
        "watching.monitor_socket",
        "opentelemetry",
        "prometheus",
        "testing",
        "web",
    )
    assert {name for name in modules if name.startswith(tuple(f"event_collector.{part}" for part in optional))} == set()


def test_a_health_probe_loads_no_queue() -> None:
    """`event-collector check` runs every few seconds: it imports neither the other commands nor what they need."""
    modules = loaded_by("from event_collector.cli import main; main(['check', '/nowhere'])")
    assert {name for name in modules if name.startswith("event_collector.command.")} == {
        f"event_collector.command.{name}"
        for name in ("check", "monitor_client", "options", "program", "standard_streams")
    }
    assert modules & (HEAVY - {"msgspec", "inspect"}) == set()
    assert {"event_collector.queue", "event_collector.life.engine"} & modules == set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_worker_imports_what_its_handlers_need_and_no_more() -> None:
    """A plain function needs no asyncio in its worker, and no worker has the front-end."""
    async with running(Collector("plain", sample_handler.loaded)) as queue:
        event = await queue.get_publisher().send(Payload(None))
        modules = set(assert_all_ok(await event.wait())["plain"])
    assert modules & (HEAVY - {"msgspec", "inspect", "multiprocessing"}) == set()
    front_end = {"queue", "engine", "dispatcher", "publisher", "router", "worker_tier", "logger"}
    assert {name for name in ours(modules) if name.rpartition(".")[2] in front_end} == set()
    assert {"event_collector_workers.pool.worker_pool", "event_collector_workers.pool.crew"} & modules == set()
