"""What every test shares: event loops, Ctrl-C as programs have it, and no context variables but its own."""

import contextvars
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import pytest
from _pytest import runner
from hypothesis import settings

from tests.event_collector.modes import hurry

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and programs that tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Programs that tests start write alike in every terminal: 80 columns, without colours that the user forces.
os.environ |= {"COLUMNS": "80", "LINES": "24"}
for variable in ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "PYTEST_ADDOPTS"):
    os.environ.pop(variable, None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run each test in empty context variables, as most programs run.

    The suite's own tools set some (a decimal context), and events that are sent in empty ones take a shorter path.
    """
    contextvars.Context().run(runner.pytest_runtest_protocol, item, nextitem)
    return True


settings.register_profile("suite", max_examples=30)
settings.register_profile("thorough", max_examples=200)
settings.load_profile(os.environ.get("EXAMPLES", "suite"))

HERE: Final = Path(__file__).parent

ON_BOTH_LOOPS: Final = (
    "event_collector/dispatch/test_cancel",
    "event_collector/dispatch/test_load",
    "event_collector/dispatch/test_races",
    "event_collector/life/test_interruption",
    "event_collector/life/test_st",
    "event_collector/tiers/coroutines",
    "faults",  # its conftest.py chooses
    "workers",
)
"""What deals with the event loop itself. Every asynchronous test of these runs on both."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave each other asynchronous test to one event loop: half of them to each, by their names.

    With LOOPS=both in the environment, all of them run on both.
    """
    if os.environ.get("LOOPS") == "both":
        return
    twice = {item for item in items if _is_on_the_other_loop(item)}
    if twice:
        config.hook.pytest_deselected(items=list(twice))
        items[:] = [item for item in items if item not in twice]


def _is_on_the_other_loop(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    on_uvloop = None if parameters is None else parameters.params.get("anyio_backend")
    if not isinstance(on_uvloop, bool) or not item.path.is_relative_to(HERE):
        return False
    room = item.path.relative_to(HERE)
    if str(room).startswith(ON_BOTH_LOOPS):
        return False
    name = item.name.replace("asyncio", "", 1).replace("uvloop", "", 1)
    return crc32(f"{room}::{name}".encode()) % 2 != on_uvloop


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run asynchronous tests on the standard library's event loop and on uvloop."""
    if request.param:
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def hurried() -> Iterator[Callable[[float], None]]:
    """Have no wait that the library has chosen itself be longer than these seconds, until the test ends."""
    with ExitStack() as until_the_end:
        yield lambda seconds: until_the_end.enter_context(hurry(seconds))
