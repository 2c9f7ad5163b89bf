"""What is done with collectors before workers start: adaptive ones are pickled, and their modules are found."""

from collections.abc import Iterable
from multiprocessing import current_process
from typing import Final

from event_collector.handlers import decorator
from event_collector.handlers.collector import ADAPTIVE, Collector
from event_collector.remote.host import open_host
from event_collector.remote.host_loop import HostLoop
from event_collector.remote.setup import is_decorated, seal
from event_collector.values.errors import ConfigError

MAIN_GUARD: Final = (
    "workers import the program's main module: what starts the queue there must stand under "
    "`if __name__ == '__main__':`"
)


def seal_adaptive(collectors: Iterable[Collector]) -> None:
    """Seal adaptive collectors, before lifecycles put unpicklable objects in their contexts. Raises ConfigError."""
    for collector in collectors:
        if collector.mode == ADAPTIVE and collector.setup is None:
            collector.keep_setup(seal(collector))


def refuse_import_of_main(collectors: list[Collector]) -> None:
    """Raise ConfigError in a worker that imports the main module of the program."""
    if getattr(current_process(), "_inheriting", False):  # multiprocessing has no public name for this
        raise ConfigError(f"collector {collectors[0].key!r} would start workers within a worker: {MAIN_GUARD}")


def modules_of(collectors: list[Collector]) -> list[str]:
    """Return the modules that workers import before they are told what to run."""
    modules = {open_host.__module__}
    for collector in collectors:
        handler = collector.handler
        modules.add(getattr(handler, "__module__", None) or type(handler).__module__)
        if is_decorated(handler):
            modules.add(decorator.__name__)  # imported by the module of the handler
        if collector.asynchronous:
            modules.add(HostLoop.__module__)
    return sorted(modules - {"__main__"})
