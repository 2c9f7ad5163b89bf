"""The tests of faults run on one event loop each: what they look for is in the pool, not in the loop.

In the suite workers of spawn go with uvloop, all others with asyncio; the slow tests go with uvloop. What both loops
have to get right is in tests/workers, which runs on both.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
EVERY_TEST = pytest.StashKey[frozenset[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[EVERY_TEST] = frozenset(item.nodeid for item in items)
    twice = {item for item in items if item.path.parent == HERE and _is_the_other(item)}
    if twice:
        config.hook.pytest_deselected(items=list(twice))
        items[:] = [item for item in items if item not in twice]


@pytest.fixture(scope="session")
def every_test(pytestconfig: pytest.Config) -> frozenset[str]:
    """The names of all tests that were found, before any were left out."""
    return pytestconfig.stash[EVERY_TEST]


def _is_the_other(item: pytest.Item) -> bool:
    """Whether that is an asynchronous test on the loop that it need not run on."""
    parameters = getattr(item, "callspec", None)
    if parameters is None or "anyio_backend" not in parameters.params:
        return False
    on_uvloop = parameters.params["anyio_backend"]
    wanted = item.get_closest_marker("slow") is not None or parameters.params.get("start_method") == "spawn"
    return bool(on_uvloop) is not wanted
