"""Calls of handlers in threads, of the queue or of any executor."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from event_collector.handlers.collector import Collector
from event_collector.handlers.running_event import RunningEvent, register_finder, running_event
from event_collector.handlers.signature import describe
from event_collector.handlers.stack_frames import hide_modules
from event_collector.remote.remote_exceptions import presentable
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload

T = TypeVar("T")


class _ThreadEvent(threading.local):
    event: RunningEvent | None = None
    """The event whose handler runs in this thread."""


_thread = _ThreadEvent()
register_finder(lambda: _thread.event)


def call_in_thread(executor: Executor, collector: Collector, payload: Payload[Any]) -> "Future[Any]":
    """Run the handler in a thread of the executor. The future has no exception that would end this program."""
    call = executor.submit(copy_context().run, _call_plain, collector, payload, running_event())
    clock.source.watch(call)
    return call


def in_this_thread(event: RunningEvent | None, step: Callable[[], T]) -> T:
    """Run a step of a handler in this thread; raise its exceptions in a form that does not end this program.

    A context manager would not do: it sets the traceback of what it lets through, which some exceptions refuse.
    """
    _thread.event = event
    try:
        return step()
    except BaseException as exc:
        shown = presentable(exc)
        if shown is exc:
            raise
        raise shown from exc
    finally:
        _thread.event = None


def _call_plain(collector: Collector, payload: Payload[Any], event: RunningEvent | None) -> Any:
    outcome = in_this_thread(event, partial(collector.processor, payload, collector.ctx))
    if hasattr(outcome, "__await__"):
        if hasattr(outcome, "close"):
            outcome.close()  # avoids the warning of a coroutine that was never awaited
        raise no_coroutine(collector)
    return outcome


def no_coroutine(collector: Collector) -> ConfigError:
    """Return the error of a collector in threads whose handler needs an event loop."""
    return ConfigError(
        f"collector {collector.key!r}: {describe(collector.handler)} returns something to await, which a thread "
        f"cannot do: use mode='coroutine', mode='process', or an executor of processes"
    )


hide_modules(__name__, between=("concurrent.futures.thread",))
