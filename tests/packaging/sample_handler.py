"""A handler that needs nothing."""

import sys
from typing import Any


def loaded(payload: Any, ctx: Any) -> list[str]:
    """Return what is imported in the process that runs it."""
    return sorted(sys.modules)
