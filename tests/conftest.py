"""What every test shares: both event loops, Ctrl-C as programs have it, and no context variables but its own."""

import contextvars
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from _pytest import runner

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
