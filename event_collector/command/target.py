"""The target of a command, MODULE:OBJECT: imports it and makes a queue of it."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from event_collector.command.options import UsageError
from event_collector.handlers.collector import PROCESS, Collector
from event_collector.queue import CollectorQueue
from event_collector.values.errors import ConfigError
from event_collector.watching.monitor import Monitor

# Options that a Collector and a CollectorQueue have as parameters.
HANDLER_OPTIONS = ("mode", "dask", "timeout")
QUEUE_OPTIONS = ("consumers", "queue_size", "workers", "min_workers", "start_method", "journal", "monitor", "control")
DEFAULT_QUEUE_SIZE = 1000  # events that may wait for a handler: keeps handlers busy, and bounds memory


def find(reference: str) -> Any:
    """Import MODULE and return its OBJECT.

    MODULE is a name as in `import`, also looked up in the current directory, or the path of a .py file, which is
    imported under the name it has in its package. The folder goes to the front of `sys.path`, which worker processes
    inherit. Raises UsageError if the module or object does not exist, or its import fails.
    """
    place, colon, path = reference.rpartition(":")
    if not (place and colon and path):
        raise UsageError(f"{reference!r} is not MODULE:OBJECT, such as handlers:handle or src/handlers.py:handle")
    module, folder = _locate(place) if place.endswith(".py") else (place, Path.cwd())
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    found = _import(module)
    origin = getattr(found, "__file__", None)
    if place.endswith(".py") and (origin is None or Path(origin).resolve() != Path(place).resolve()):
        raise UsageError(f"{place} cannot be imported: another module is called {module!r} already, {found!r}")
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as exc:
            raise UsageError(f"cannot find {path!r} in {place}: {exc}") from None
    return found


async def make_queue(found: Any, reference: str, options: Mapping[str, Any]) -> CollectorQueue:
    """Return the queue of a handler, a Collector, several, a CollectorQueue, or a function that returns one.

    A function without parameters is called, and awaited if it is asynchronous. `reference` is MODULE:OBJECT, for the
    key of the collector and for errors. `options` are HANDLER_OPTIONS and QUEUE_OPTIONS, None where not given
    (`journal` is a Journal, `dask` an executor), and `drain_timeout`.

    Raises UsageError if the target is none of these, has an option as a parameter of its own, or has a handler that
    yields, and ConfigError if the library refuses it.
    """
    queue = await _make_queue(found, reference, options)
    for collector in queue.collectors.values():
        if collector.is_generator:
            raise UsageError(
                f"{reference}: collector {collector.key!r} yields parts, and the command takes one result for each "
                f"event: return a list of the items"
            )
    return queue


async def _make_queue(found: Any, reference: str, options: Mapping[str, Any]) -> CollectorQueue:
    if _is_factory(found):
        found = await _call(found, reference)
    if isinstance(found, CollectorQueue):
        _refuse(options, (*HANDLER_OPTIONS, *QUEUE_OPTIONS), "CollectorQueue", reference)
        return found
    if isinstance(found, Collector):
        found = [found]
    if isinstance(found, (list, tuple)) and found and all(isinstance(one, Collector) for one in found):
        _refuse(options, HANDLER_OPTIONS, "Collector", reference)
        return _new_queue(list(found), options)
    if not callable(found):
        raise UsageError(
            f"{reference} is {_article(found)}, not a handler, a Collector, a list of them, a CollectorQueue, "
            f"or a function that returns one"
        )
    mode, timeout = options["dask"] or options["mode"] or "auto", options["timeout"]
    return _new_queue([Collector(reference.rpartition(":")[2], found, mode=mode, timeout=timeout)], options)


async def collector_of(found: Any, reference: str) -> Collector:
    """Return the one collector of what `make_queue()` takes; raises as it does, and UsageError if it has several."""
    nothing = dict.fromkeys((*HANDLER_OPTIONS, *QUEUE_OPTIONS))
    queue = await make_queue(found, reference, {**nothing, "drain_timeout": 0.0})
    collectors = list(queue.collectors.values())
    if len(collectors) != 1:
        raise UsageError(f"{reference} has {len(collectors)} collectors: name one handler, or one Collector")
    return collectors[0]


def _new_queue(collectors: list[Collector], options: Mapping[str, Any]) -> CollectorQueue:
    monitor = options["monitor"]
    if options["control"]:
        if monitor is None:
            raise UsageError("--control needs --monitor PATH, beside which its socket is")
        monitor = Monitor(monitor, control=True)
    parameters = {
        "monitor": monitor,
        "max_consumers": options["consumers"],
        "max_workers": options["workers"],
        **{name: options[name] for name in ("min_workers", "start_method", "journal")},
    }
    return CollectorQueue(
        collectors,
        max_queue_size=options["queue_size"] or _default_size(collectors),
        consumer_shutdown_timeout=options["drain_timeout"],
        **{name: value for name, value in parameters.items() if value is not None},
    )


def _default_size(collectors: list[Collector]) -> int:
    """Return the size of a queue without --queue-size: none for worker processes, which take many lines in one job."""
    return 0 if all(collector.mode == PROCESS for collector in collectors) else DEFAULT_QUEUE_SIZE


def _locate(place: str) -> tuple[str, Path]:
    """Return the module name of a file, and the folder it is imported from."""
    file = Path(place).resolve()
    if not file.is_file():
        raise UsageError(f"there is no file {place}")
    if "." in file.stem:
        remedy = f"rename it, such as {file.stem.replace('.', '_')}.py"
        raise UsageError(f"{place} cannot be imported: a dot in the name of a module separates packages: {remedy}")
    names, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        names.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(names)), folder


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as exc:
        if isinstance(exc, ModuleNotFoundError) and f"{module}.".startswith(f"{exc.name}."):
            raise UsageError(f"there is no module {module!r} here or on the Python path") from None
        raise UsageError(_failed(f"importing {module!r}", exc)) from None


def _failed(doing: str, exc: Exception) -> str:
    text = f"{doing} failed: {type(exc).__name__}: {exc}"
    frames = traceback.extract_tb(exc.__traceback__)
    user_frames = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    if not user_frames or isinstance(exc, SyntaxError):
        return text
    return f"{text} ({os.path.relpath(user_frames[-1].filename)}, line {user_frames[-1].lineno})"


async def _call(factory: Callable[[], Any], reference: str) -> Any:
    try:
        made = factory()
        return await made if inspect.isawaitable(made) else made
    except ConfigError:
        raise
    except Exception as exc:
        raise UsageError(_failed(f"calling {reference}", exc)) from None


def _is_factory(found: Any) -> bool:
    """Return whether the target is a function that returns a target: callable without arguments, and no handler."""
    return not isinstance(found, (Collector, CollectorQueue)) and _accepts(found, 0) and not _accepts(found, 2)


def _accepts(function: Callable[..., Any], arguments: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # not callable, or a built-in function without a signature
        return arguments == 2
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True


def _refuse(options: Mapping[str, Any], names: tuple[str, ...], kind: str, reference: str) -> None:
    """Refuse options that the target has as parameters of its own."""
    refused = " and ".join(f"--{name.replace('_', '-')}" for name in names if options[name] is not None)
    if refused:
        raise UsageError(f"{reference} is a {kind}: set {refused} there, not on the command line")


def _article(found: Any) -> str:
    name = type(found).__name__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
