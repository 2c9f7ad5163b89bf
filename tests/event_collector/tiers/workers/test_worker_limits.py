"""What a worker process may take of the machine, and how an exceeded limit is told."""

import pickle
import resource
import sys
import tempfile
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    Error,
    Ok,
    Payload,
    WorkerCrashed,
    WorkerLimits,
)
from event_collector_workers import limits as limits_module

ROOM = 4 * 1024**3
"""Bytes of address space in which an interpreter has room."""


def use(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "memory":
        return len(bytearray(2 * ROOM))
    if payload.value == "files":
        files = []
        while True:
            files.append(tempfile.TemporaryFile())
    if payload.value == "cpu":
        while True:
            pass
    return [resource.getrlimit(getattr(resource, name)) for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NOFILE")]


async def results_of(values: list[str], limits: WorkerLimits, **settings: Any) -> list[Any]:
    queue = CollectorQueue([Collector("use", use)], worker_limits=limits, max_workers=1, logging=False, **settings)
    async with queue:
        events = await queue.get_publisher().send_many(map(Payload, values))
        return [(await event.wait()).first() for event in events]


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
async def test_a_worker_has_the_limits_that_were_given(start_method: str) -> None:
    """Those that were not given are the program's."""
    (result,) = await results_of(["limits"], WorkerLimits(cpu_seconds=100, open_files=50), start_method=start_method)
    own = list(resource.getrlimit(resource.RLIMIT_AS))
    assert result.unwrap() == [own, [100, 105], [50, 50]]


async def test_memory_beyond_the_limit_is_an_error_that_names_it() -> None:
    """Only that event fails; the worker goes on."""
    failed, fine = await results_of(["memory", "limits"], WorkerLimits(address_space=ROOM))
    assert isinstance(failed, Error)
    assert isinstance(failed.err, MemoryError)
    assert failed.err.__notes__ == [f"a worker may map {ROOM} bytes of memory (address_space)"]
    assert isinstance(fine, Ok)


async def test_files_beyond_the_limit_are_an_error_that_names_it() -> None:
    """Only that event fails; the worker goes on."""
    failed, fine = await results_of(["files", "limits"], WorkerLimits(open_files=40))
    assert isinstance(failed, Error)
    assert isinstance(failed.err, OSError)
    assert "40 files open (open_files)" in failed.err.__notes__[0]
    assert isinstance(fine, Ok)


async def test_a_worker_beyond_its_cpu_seconds_ends_and_its_event_names_the_limit() -> None:
    """Another worker takes its place."""
    failed, fine = await results_of(["cpu", "limits"], WorkerLimits(cpu_seconds=1))
    assert isinstance(failed, Error)
    assert isinstance(failed.err, WorkerCrashed)
    assert "killed by SIGXCPU (its limit of CPU seconds, cpu_seconds, is used up)" in str(failed.err)
    assert str(failed.err).endswith("; its limits: cpu_seconds=1")
    assert isinstance(fine, Ok)


def test_what_is_no_limit_is_refused() -> None:
    """The message names the field."""
    for wrong in (0, -1, True, 2.5, "1G"):
        with pytest.raises(ValueError, match="open_files is a whole number of at least 1"):
            WorkerLimits(open_files=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="worker_limits takes a WorkerLimits"):
        CollectorQueue([], worker_limits={"open_files": 9})  # type: ignore[arg-type]


def test_what_the_platform_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no limits of this kind, and macOS does not keep that of memory."""
    monkeypatch.setattr(limits_module.sys, "platform", "darwin")
    with pytest.raises(ValueError, match="address_space cannot be limited on this platform, darwin"):
        WorkerLimits(address_space=ROOM)
    assert WorkerLimits(open_files=9).open_files == 9
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(ValueError, match="open_files cannot be limited on this platform"):
        WorkerLimits(open_files=9)


def test_limits_survive_pickle() -> None:
    """They travel to workers so."""
    limits = WorkerLimits(cpu_seconds=1)
    assert pickle.loads(pickle.dumps(limits)) == limits
    assert str(limits) == "cpu_seconds=1"


async def test_a_limit_above_what_the_program_may_have_fails_the_start() -> None:
    """The message names it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with pytest.raises(Exception, match="open_files=9223372036854775000 cannot be set"):
            await results_of([], WorkerLimits(open_files=9223372036854775000))
    finally:
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
