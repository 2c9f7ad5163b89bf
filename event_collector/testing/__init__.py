"""The testing kit for applications: workers in the test's own process, a clock moved by hand, assertions on results.

The names are loaded when they are first used, because pytest imports this package in every suite.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_collector.testing.assertions import assert_all_ok, assert_error, assert_ok
    from event_collector.testing.in_process import in_process_workers
    from event_collector.testing.manual_clock import ManualClock

__all__ = ["ManualClock", "assert_all_ok", "assert_error", "assert_ok", "in_process_workers"]

_HOME_OF = {
    "ManualClock": "manual_clock",
    "assert_all_ok": "assertions",
    "assert_error": "assertions",
    "assert_ok": "assertions",
    "in_process_workers": "in_process",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
