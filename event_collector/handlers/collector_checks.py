"""Checks of what a Collector is made of. Each raises ConfigError."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final, Protocol, get_origin

from event_collector.handlers.batch import Batch
from event_collector.handlers.retry import Retry
from event_collector.values.checks import check_callable, check_seconds
from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector_workers.environment import DEFAULT_GROUP

LOG: Final = "log"
IGNORE: Final = "ignore"
ON_ERROR: Final = (LOG, IGNORE)


class Kinds(Protocol):
    """A collector, as `check_heartbeat()` sees it."""

    batch: Batch | None
    is_generator: bool
    is_in_processes: bool


def check_processor(key: Any, processor: Any) -> None:
    """Check the key, and that the processor can be called."""
    if not isinstance(key, str) or not key:
        raise ConfigError(f"a collector's key is a non-empty string, not {key!r}")
    if not callable(processor):
        raise ConfigError(f"collector {key!r}: the processor must be callable, not {processor!r}")


def check_policies(owner: str, timeout: Any, heartbeat: Any, retry: Any, batch: Any, on_error: Any) -> None:
    """Check what says how events are handled."""
    if timeout is not None:
        check_seconds(f"{owner}: timeout takes", timeout)
    if heartbeat is not None:
        check_seconds(f"{owner}: heartbeat takes", heartbeat)
    if retry is not None and not isinstance(retry, Retry):
        raise ConfigError(f"{owner}: retry takes a Retry, such as Retry(max_attempts=5), not {retry!r}")
    if batch is not None and not isinstance(batch, Batch):
        raise ConfigError(f"{owner}: batch takes a Batch, such as Batch(max_size=64), not {batch!r}")
    if on_error not in ON_ERROR:
        raise ConfigError(f"{owner}: on_error is one of {ON_ERROR}, not {on_error!r}")


def check_surroundings(owner: str, ctx: Any, lifecycle: Any, payload_type: Any, result_type: Any) -> None:
    """Check the context, the lifecycle and the types."""
    if ctx is not None and not isinstance(ctx, Context):
        raise ConfigError(f"{owner}: ctx takes a Context, not {ctx!r}: write Context({{...}})")
    check_callable(f"{owner}: lifecycle takes", lifecycle)
    for name, kind in (("payload_type", payload_type), ("result_type", result_type)):
        is_type = isinstance(kind, type) or get_origin(kind) is not None or type(kind).__module__ == "typing"
        if kind is not None and not is_type:
            raise ConfigError(f"{owner}: {name} takes a type such as Order or list[int], not {kind!r}")


def check_workers(owner: str, workers: Any, in_workers: bool, mode: str) -> str:
    """Return the name of the worker group of a collector. Its handler must run in worker processes."""
    if workers is None:
        return DEFAULT_GROUP
    if not isinstance(workers, str) or not workers:
        raise ConfigError(f'{owner}: workers takes the name of a worker group, such as "gpu", not {workers!r}')
    if not in_workers:
        raise ConfigError(
            f"{owner}: workers={workers!r} is for handlers in worker processes, and this one has mode={mode!r}: give "
            f"it mode='process', or drop workers="
        )
    return workers


def runs_in_threads(executor: Executor) -> bool:
    """Return whether an executor runs functions in threads that share objects with this one."""
    # InterpreterPoolExecutor (Python 3.14) is a ThreadPoolExecutor whose threads share no objects.
    return isinstance(executor, ThreadPoolExecutor) and type(executor).__name__ != "InterpreterPoolExecutor"


def is_plain_function(processor: Callable[..., Any]) -> bool:
    """Return whether a processor is a function with a name of its own."""
    return getattr(processor, "__name__", "<lambda>") != "<lambda>"


def check_heartbeat(owner: str, collector: Kinds) -> None:
    """Check that reports of progress come from where the handler runs."""
    if collector.is_in_processes:
        raise ConfigError(
            f"{owner}: heartbeat= needs reports of progress, which do not come from the processes of an executor: use "
            f"mode='process', or timeout="
        )
    if collector.is_generator or collector.batch is not None:
        kind = "handler that yields" if collector.is_generator else "batch handler"
        raise ConfigError(f"{owner}: a {kind} takes no heartbeat=: give it timeout=")
