"""What a worker has to say: log records, warnings, exceptions of threads. All of it goes to the program.

    logging    --> log_handler  --+--> Outlet --> the program, which emits it as its own
    warnings, exceptions ---------+
    print      --> line_streams -----> the standard streams that the worker has inherited, in whole lines

Nothing here costs anything until something is said: `logging` is not imported for it.
"""

from __future__ import annotations

import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from event_collector_workers.child.line_streams import replace_streams
from event_collector_workers.error_texts import encodable, text_of
from event_collector_workers.transport.outlet import Outlet, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from event_collector_workers.transport.records import LogLevels


class Adopter(Protocol):
    """Turns what a module, such as `logging`, writes over to the outlet. Has read `Forwarding.levels` at its making."""

    def note_own(self) -> None:
        """Note that the configuration of this moment was not made at import."""

    def adopt(self) -> None:
        """Replace what was configured at import."""

    def take_levels(self, levels: LogLevels) -> None:
        """Send what the program does not drop now."""


LOGGER: Final = "event_collector.worker"
"""The logger of exceptions that no code of a worker has handled."""


class Forwarding:
    """Sends what this worker says. `begin()` replaces streams and hooks of the process; `end()` sends what is left."""

    def __init__(self, outlet: Outlet, levels: LogLevels) -> None:
        self.outlet, self.levels = outlet, levels
        self._describe: Callable[[], dict[str, Any]] = dict
        self._adopters: dict[str, Adopter] = {}
        self._makers: dict[str, Callable[[], Adopter]] = {}

    def __repr__(self) -> str:
        return f"<Forwarding {self.outlet!r} of {sorted(self._adopters)}>"

    def begin(self) -> None:
        """Send from now on what is said in this process."""
        self._files = replace_streams()
        warnings.showwarning = self._show_warning
        if threading.excepthook is threading.__excepthook__:
            threading.excepthook = _log_exception_of_thread
        if sys.unraisablehook is sys.__unraisablehook__:
            sys.unraisablehook = _log_unraisable
        sys.meta_path.insert(0, self)
        self.turn_over("logging", self._make_log_forwarding)

    def end(self) -> None:
        """Send unfinished lines, and the number of records that were dropped."""
        for file in self._files:
            file.end_lines()
        self.outlet.report_dropped()

    def take_levels(self, levels: LogLevels) -> None:
        """Send from now on what the program does not drop now."""
        self.levels = levels
        for adopter in self._adopters.values():
            adopter.take_levels(levels)

    def describe_with(self, describe: Callable[[], dict[str, Any]]) -> None:
        """Add what `describe` returns to each record, such as the event that is running."""
        self._describe = describe

    def describe(self) -> dict[str, Any]:
        """Return what `describe_with()` has set."""
        return self._describe()

    def turn_over(self, module: str, make: Callable[[], Adopter]) -> None:
        """Make an adopter of what a module writes, now or when this process imports it. Repeated calls do nothing."""
        if module in self._adopters or module in self._makers:
            return
        self._makers[module] = make
        if module in sys.modules:
            self._adopt(module)

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Treat what is configured within this context as configured at import."""
        for adopter in self._adopters.values():
            adopter.note_own()
        before = len(sys.modules)
        yield
        if len(sys.modules) != before:
            for adopter in self._adopters.values():
                adopter.adopt()

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Have a module adopted as soon as it is imported; as a finder of the import system."""
        if name not in self._makers or name in sys.modules:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self._adopt_after(spec.loader, name)
                return spec
        return None

    def _adopt_after(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def execute_and_adopt(module: Any) -> None:
            execute(module)
            self._adopt(name)

        loader.exec_module = execute_and_adopt

    def _adopt(self, name: str) -> None:
        make = self._makers.pop(name, None)
        if make is not None:
            adopter = self._adopters[name] = make()
            adopter.adopt()

    def _make_log_forwarding(self) -> Adopter:
        from event_collector_workers.child.log_handler import LogForwarding

        return LogForwarding(self.outlet, self.describe, self.levels)

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        from event_collector_workers.transport.records import WarningLine, encode_line

        if file is not None:
            file.write(warnings.formatwarning(message, category, filename, lineno, line))
            return
        sent = WarningLine(text_of(message), encodable(category.__name__), encodable(filename), lineno)
        self.outlet.send(Output.WARNING, encode_line(sent))


def _log_exception_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    import logging

    name = "a thread" if args.thread is None else args.thread.name
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger(LOGGER).error("exception in thread %s of a worker", name, exc_info=info)


def _log_unraisable(args: Any) -> None:
    import logging

    what = args.err_msg or "exception ignored in"
    error = args.exc_value if args.exc_value is not None else args.exc_type()
    info = (args.exc_type, error, args.exc_traceback)
    logging.getLogger(LOGGER).error("%s: %s", what, text_of(repr(args.object)), exc_info=info)


class _Current:
    """The forwarding of this process."""

    def __init__(self) -> None:
        self.forwarding: Forwarding | None = None

    def begin(self, outlet: Outlet, levels: LogLevels) -> None:
        """Send what is said in this process from now on."""
        self.forwarding = Forwarding(outlet, levels)
        self.forwarding.begin()

    def take_levels(self, levels: LogLevels) -> None:
        """Send what the program does not drop now, if anything is sent."""
        if self.forwarding is not None:
            self.forwarding.take_levels(levels)

    def end(self) -> None:
        """Send what is left, if anything is sent."""
        if self.forwarding is not None:
            self.forwarding.end()


current: Final = _Current()
"""Its `forwarding` is None in processes that are no worker of a pool."""
