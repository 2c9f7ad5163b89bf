"""The slow tests of faults run on one event loop: what they look for adds up in the pool, not in the loop."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    twice = [item for item in items if item.get_closest_marker("slow") and "[asyncio" in item.name]
    if twice:
        config.hook.pytest_deselected(items=twice)
        items[:] = [item for item in items if item not in set(twice)]
