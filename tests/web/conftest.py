"""A browser for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.web.browsing import Browser, require


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    require()
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()
