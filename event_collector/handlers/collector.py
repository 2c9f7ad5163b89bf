"""A collector: a handler under a key, with its context, its topics, and where it runs."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, Unpack, overload

from event_collector.handlers.retry import Retry
from event_collector.handlers.signature import (
    describe,
    is_asynchronous,
    payload_type_of,
    result_type_of,
    takes_value,
)
from event_collector.handlers.time_limit import within
from event_collector.handlers.usage import Usage
from event_collector.handlers.value_handler import ValueHandler
from event_collector.values.clock import clock
from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload, to_strings
from event_collector.values.results import Keyed

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from event_collector.handlers.handler_types import CollectorOptions, Handler
    from event_collector.values.results import Error, Ok

    # Covariant, so that a list of several collectors is a list of collectors for every type checker.
    P = TypeVar("P", default=Any, covariant=True)
    R = TypeVar("R", default=Any, covariant=True)
else:
    from typing import TypeVar

    P = TypeVar("P", covariant=True)
    R = TypeVar("R", covariant=True)

__all__ = [
    "Collector",
    "CollectorDict",
    "CollectorList",
    "LifecycleManager",
    "Processor",
]

Processor: TypeAlias = Callable[[Payload[Any], Context], Any]
"""A handler: takes a payload and its collector's context, returns a Result, any other value, or one to await."""

LifecycleManager: TypeAlias = Callable[
    [Context], AbstractAsyncContextManager[Any] | AbstractContextManager[Any]
]
"""Takes the collector's context, returns a context manager: entered before the first event, left after the last."""

COROUTINE: Final = "coroutine"
THREAD: Final = "thread"
PROCESS: Final = "process"
EXECUTOR: Final = "executor"
ADAPTIVE: Final = "adaptive"
_MODES = ("auto", COROUTINE, THREAD, PROCESS, ADAPTIVE)

THREE_WAYS_OUT: Final = (
    "write it as `async def`, give it mode='thread' if it waits for IO, or mode='process' if it needs the CPU"
)


def runs_in_threads(executor: Executor) -> bool:
    """Return whether the executor's jobs run in this interpreter, where nothing needs to be encoded."""
    # InterpreterPoolExecutor (Python 3.14) is a ThreadPoolExecutor whose threads share no objects.
    return isinstance(executor, ThreadPoolExecutor) and type(executor).__name__ != "InterpreterPoolExecutor"


class Tier(Protocol):
    """Where handlers run that are not coroutines of the event loop."""

    async def run(self, collector: "Collector", payload: Payload[Any]) -> Any:
        """Run the handler there and return its outcome, or raise its exception."""


class Collector(Keyed[R], Generic[P, R]):
    """A handler with everything it needs. `Collector[Order, Receipt]` takes an Order and gives a Receipt.

    Args:
        key: its name within the queue, not empty.
        processor: the handler, `async def` or plain: `(value) -> result`, or `(payload, ctx) -> result`. One that can
            be called with two arguments gets the payload and the context.
        topics: the topics it is subscribed to, for TOPIC delivery.
        ctx: what handler and lifecycle share; a context of its own when not given. In worker processes every
            worker has a copy.
        lifecycle: opens and closes what the handler needs, such as a connection it puts into `ctx`. It runs
            once in the program, or once in each worker process; with mode "adaptive" in both.
        mode: "coroutine" (on the event loop), "thread" (plain `def` that waits), "process" (in worker
            processes), any `concurrent.futures.Executor`, "auto": coroutine for `async def`, else process; or
            "adaptive": on the event loop (a plain `def`: in threads) or in worker processes, as the queue finds
            out what its events take.
        payload_type: what the payload value is decoded into in a worker: a type that msgspec knows. By
            default the handler's own annotation, `Payload[Order]`, or `Order` of one that takes the value alone.
        result_type: what the result value is decoded into when it comes back from a worker; by default
            the handler's annotation, `-> Receipt` or `-> Result[Receipt]`.
        timeout: seconds a handler may take for one event, more than 0; None for no limit. A coroutine is
            cancelled, a worker process killed; of a thread, which cannot be stopped, the result is dropped.
        retry: how often and when an event is tried again whose handler failed; None: never.

    Raises:
        ConfigError: an empty key; a processor that is not callable, or cannot be called with one value, nor with a
            payload and a context, or leaves open which of the two; or a mode that does not suit the handler.

    """

    if TYPE_CHECKING:
        # In this order: what can be awaited would match the last as well, and a Result the one before.
        @overload
        def __init__(
            self,
            key: str,
            processor: Handler[P, Awaitable[Ok[R] | Error[Any]]],
            **options: Unpack[CollectorOptions],
        ) -> None: ...
        @overload
        def __init__(
            self, key: str, processor: Handler[P, Awaitable[R]], **options: Unpack[CollectorOptions]
        ) -> None: ...
        @overload
        def __init__(
            self, key: str, processor: Handler[P, Ok[R] | Error[Any]], **options: Unpack[CollectorOptions]
        ) -> None: ...
        @overload
        def __init__(
            self, key: str, processor: Handler[P, R], **options: Unpack[CollectorOptions]
        ) -> None: ...

    def __init__(
        self,
        key: str,
        processor: Callable[..., Any],
        *,
        topics: Sequence[str] | None = None,
        ctx: Context | None = None,
        lifecycle: LifecycleManager | None = None,
        mode: str | Executor = "auto",
        payload_type: Any = None,
        result_type: Any = None,
        timeout: float | None = None,
        retry: Retry | None = None,
    ) -> None:
        if not _is_name(key):
            raise ConfigError(f"a collector's key is a string that is not empty, not {key!r}")
        if isinstance(processor, Collector):
            raise ConfigError(
                f"collector {key!r}: its processor is a Collector already, {processor!r}: give the queue that one, or "
                f"make another of its .handler"
            )
        if not callable(processor):
            raise ConfigError(f"collector {key!r}: the processor must be callable, not {processor!r}")
        if timeout is not None and not timeout > 0:
            raise ConfigError(f"collector {key!r}: timeout is a number of seconds above 0, not {timeout!r}")
        if retry is not None and not isinstance(retry, Retry):
            raise ConfigError(
                f"collector {key!r}: retry takes a Retry, such as Retry(max_attempts=5), not {retry!r}"
            )
        self.key = key
        self.handler: Callable[..., Any] = (
            processor.handler if isinstance(processor, ValueHandler) else processor
        )
        """The function as it was given."""
        self.processor: Any = (
            ValueHandler(self.handler) if takes_value(self.handler, f"collector {key!r}") else self.handler
        )
        """What is called with a payload and the context."""
        self.topics = to_strings(f"collector {key!r}: topics", topics)
        self.ctx = ctx if ctx is not None else Context()
        self.lifecycle = lifecycle
        self.timeout = timeout
        self.retry = retry
        self.asynchronous = is_asynchronous(self.handler)
        self.executor = mode if isinstance(mode, Executor) else None
        self.mode = self._resolve(mode)
        self.automatic = mode == "auto"
        """Whether it was left to the library where the handler runs."""
        self.home = self.mode if self.mode != ADAPTIVE else COROUTINE if self.asynchronous else THREAD
        """Where it runs, or an adaptive one begins to."""
        self.place = self.home
        """Where its events run that begin now; of an adaptive one its tier writes it."""
        self.is_batched = self.executor is not None and not runs_in_threads(self.executor)
        """Whether it runs in the processes of an executor."""
        remote = self.mode in (PROCESS, ADAPTIVE) or self.is_batched
        self.payload_type = payload_type or (payload_type_of(self.handler) if remote else Any)
        self.result_type = result_type or (result_type_of(self.handler) if remote else Any)
        self.setup: bytes | None = None
        """What the workers of an adaptive collector get: as it was before its lifecycle first opened anything here."""
        self.usage = Usage()
        """Written wherever its events end, by the thread of the event loop."""
        self._tier: Tier | None = None

    def _resolve(self, mode: str | Executor) -> str:
        if isinstance(mode, Executor):
            return EXECUTOR
        if mode not in _MODES:
            raise ConfigError(f"collector {self.key!r}: mode is one of {_MODES} or an Executor, not {mode!r}")
        if mode == "auto":
            return COROUTINE if self.asynchronous else PROCESS
        name = describe(self.handler)
        if mode == COROUTINE and not self.asynchronous and _is_plain_function(self.handler):
            raise ConfigError(
                f"collector {self.key!r}: {name} is a plain function and would block the event loop: "
                f"{THREE_WAYS_OUT}"
            )
        if mode == THREAD and self.asynchronous:
            raise ConfigError(
                f"collector {self.key!r}: {name} is a coroutine function, which a thread cannot run: "
                f"use mode='coroutine', or mode='process'"
            )
        return mode

    def asked_type(self) -> Any:
        """Return the type of value that is asked for, also where nothing is decoded into it; Any for none.

        Raises:
            ConfigError: the handler's annotation names something that cannot be found at run time.

        """
        return self.payload_type if self.payload_type is not Any else payload_type_of(self.handler)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the handler, here and now, as the function that it was before its decorator."""
        return self.handler(*args, **kwargs)

    def attach(self, tier: Tier | None) -> None:
        """Say where the handler runs while its queue does; None when the queue has stopped.

        Raises:
            ConfigError: another running queue has it.

        """
        if tier is not None and self._tier is not None:
            raise ConfigError(
                f"collector {self.key!r} with mode={self.mode!r} belongs to another running queue: "
                f"make a Collector of its own for each queue"
            )
        self._tier = tier

    async def process(self, payload: "Payload[P]") -> Any:
        """Run the handler on one payload, wherever it runs, and return what it returned.

        An exception of the handler is raised here, also from a thread or a worker process. Cancelling it
        cancels the handler: a coroutine gets CancelledError, a worker process is killed and replaced.

        Raises:
            HandlerTimeout: it took longer than `timeout`.
            ConfigError: it does not run on the event loop, and no running queue has the collector.

        """
        if self.place == PROCESS or self.is_batched:
            return await self._attached().run(self, payload)  # counts the worker's time, not the wait for it
        usage, begin = self.usage, clock.now()
        usage.running += 1
        try:
            if self.place == COROUTINE:
                return await self._call(payload)
            return await self._attached().run(self, payload)
        finally:
            usage.running -= 1
            usage.finished(clock.now() - begin)

    def _attached(self) -> Tier:
        if self._tier is None:
            raise ConfigError(
                f"collector {self.key!r} runs in mode={self.mode!r}, which only a running CollectorQueue provides"
            )
        return self._tier

    async def _call(self, payload: Payload[Any]) -> Any:
        outcome = self.processor(payload, self.ctx)
        if not hasattr(outcome, "__await__"):
            raise not_awaitable(self, outcome)
        return await outcome if self.timeout is None else await within(self, outcome)

    def __repr__(self) -> str:
        return f"<Collector key={self.key} mode={self.mode} ctx={self.ctx!r}>"


CollectorDict: TypeAlias = Mapping[str, Collector]
CollectorList: TypeAlias = Sequence[Collector]


def not_awaitable(collector: Collector, outcome: object) -> ConfigError:
    """Return the error of a coroutine collector whose handler turned out to be a plain one."""
    return ConfigError(
        f"collector {collector.key!r}: {describe(collector.handler)} returned {type(outcome).__name__}, "
        f"which cannot be awaited: {THREE_WAYS_OUT}"
    )


def _is_name(key: object) -> bool:
    return isinstance(key, str) and bool(key)


def _is_plain_function(processor: Callable[..., Any]) -> bool:
    return getattr(processor, "__name__", "<lambda>") != "<lambda>"


def common_payload_type(collectors: Iterable[Collector[Any, Any]]) -> Any:
    """Return the type that values from outside are decoded into: what all collectors ask for, Any where they differ."""
    asked = [collector.asked_type() for collector in collectors]
    return asked[0] if asked and all(one == asked[0] for one in asked) else Any
