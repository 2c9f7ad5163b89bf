"""Collectors: a handler with its key, topics, context and lifecycle, and the place where it runs."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, Unpack, get_origin, overload

from event_collector.handlers.lifecycle import LifecycleManager
from event_collector.handlers.parts import TimeLeft, open_sink, produce
from event_collector.handlers.retry import Retry
from event_collector.handlers.signature import (
    describe,
    describe_timeout,
    is_asynchronous,
    part_types_of,
    payload_type_of,
    result_type_of,
    takes_value,
    yields_parts,
)
from event_collector.handlers.time_limit import within
from event_collector.handlers.usage import Usage
from event_collector.handlers.value_handler import ValueHandler
from event_collector.values.checks import check_callable, check_seconds
from event_collector.values.clock import clock
from event_collector.values.context import Context
from event_collector.values.errors import ConfigError, HandlerTimeout
from event_collector.values.payload import Payload, to_strings
from event_collector.values.results import Keyed, R

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from event_collector.handlers.handler_types import CollectorOptions, Handler
    from event_collector.values.results import Error, Ok

    # Covariant, so that a list of several collectors is a list of collectors for every type checker.
    P = TypeVar("P", default=Any, covariant=True)
else:
    from typing import TypeVar

    P = TypeVar("P", covariant=True)

Process: TypeAlias = Callable[[Payload[Any]], Coroutine[Any, Any, Any]]
"""The type of `Collector.process`."""

Processor: TypeAlias = Callable[[Payload[Any], Context], Any]
"""Takes a payload and the collector's context, returns a Result, any other value, or an awaitable of either."""

COROUTINE: Final = "coroutine"
THREAD: Final = "thread"
PROCESS: Final = "process"
EXECUTOR: Final = "executor"
ADAPTIVE: Final = "adaptive"
_MODES = ("auto", COROUTINE, THREAD, PROCESS, ADAPTIVE)

ALTERNATIVES: Final = (
    "write it as `async def`, give it mode='thread' if it waits for IO, or mode='process' if it needs the CPU"
)


def _runs_in_threads(executor: Executor) -> bool:
    # InterpreterPoolExecutor (Python 3.14) is a ThreadPoolExecutor whose threads share no objects.
    return isinstance(executor, ThreadPoolExecutor) and type(executor).__name__ != "InterpreterPoolExecutor"


class HandlerTier(Protocol):
    """Runs handlers outside the event loop."""

    async def run(self, collector: "Collector", payload: Payload[Any]) -> Any:
        """Run the handler and return its outcome, or raise its exception."""


class Collector(Keyed[R], Generic[P, R]):
    """A handler and its configuration. `Collector[Order, Receipt]` takes an Order and returns a Receipt.

    Args:
        key: unique name within the queue, not empty.
        processor: the handler, `async def` or plain: `(value) -> result`, or `(payload, ctx) -> result`. A handler that
            can be called with two arguments receives the payload and the context. It may `yield`: see `event.parts()`.
        topics: the topics that it is subscribed to, for TOPIC delivery.
        ctx: the context that handler and lifecycle share; a new one by default. Each worker process has a copy.
        lifecycle: opens and closes the resources of the handler, such as a connection that it stores in `ctx`. It runs
            once in the program, or once in each worker process; with mode "adaptive" in both.
        mode: "coroutine": on the event loop; "thread": in a thread, for a plain `def` that waits; "process": in worker
            processes; a `concurrent.futures.Executor`; "auto": coroutine for `async def`, else process; "adaptive":
            on the event loop (a plain `def`: in threads) or in worker processes, depending on the measured load.
        payload_type: the type into which a worker process decodes the payload's value; msgspec must support it. The
            default is the handler's annotation: Order for `Payload[Order]`, or for a value annotated `Order`.
        result_type: the type into which the result of a worker process is decoded. The default is the handler's
            annotation: Receipt for `-> Receipt` and `-> Result[Receipt]`. For a handler that yields it is the type of
            the parts: Row for `-> Iterator[Row]`.
        timeout: seconds that the handler may take for one event, more than 0; None for no limit. A coroutine is then
            cancelled and a worker process is killed. A thread cannot be stopped: its result is dropped. The time in
            which a handler that yields waits for its reader does not count.
        retry: the policy for failed attempts; None for no retry.

    Raises:
        ConfigError: the key is empty; the processor is not callable, does not have one of the two forms, or it is
            ambiguous which one; the mode does not suit the handler; or an option does not accept its value.
    """

    if TYPE_CHECKING:
        # The order matters: the last overload matches awaitables too, and the second one awaitable Results.
        @overload
        def __init__(
            self, key: str, processor: Handler[P, Awaitable[Ok[R] | Error[Any]]], **options: Unpack[CollectorOptions]
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
        def __init__(self, key: str, processor: Handler[P, R], **options: Unpack[CollectorOptions]) -> None: ...

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
        _check(key, processor, timeout, retry)
        self.key = key
        self.handler: Callable[..., Any] = processor.handler if isinstance(processor, ValueHandler) else processor
        self.processor: Any = (
            ValueHandler(self.handler) if takes_value(self.handler, f"collector {key!r}") else self.handler
        )
        """Called with a payload and the context: the handler, an adapter of it, or a stand-in that measures it."""
        _check_options(f"collector {key!r}", ctx, lifecycle, payload_type, result_type)
        self.topics = to_strings(f"collector {key!r}: topics", topics)
        self.ctx = ctx if ctx is not None else Context()
        self.lifecycle = lifecycle
        self.timeout = timeout
        self.retry = retry
        self.asynchronous = is_asynchronous(self.handler)
        self.is_generator = yields_parts(self.handler)
        """Whether its handler is a generator function, so that its events have parts."""
        self.executor = mode if isinstance(mode, Executor) else None
        self.mode = self._resolve(mode)
        self.automatic = mode == "auto"
        self.home = self.mode if self.mode != ADAPTIVE else COROUTINE if self.asynchronous else THREAD
        """The mode in which it runs, or starts if it is adaptive."""
        self.place = self.home
        """The mode in which the next event runs; only `move_to()` changes it, for adaptive collectors."""
        self.is_batched = self.executor is not None and not _runs_in_threads(self.executor)
        """Whether it runs in the processes of an executor, which get events in batches."""
        remote = self.mode in (PROCESS, ADAPTIVE) or self.is_batched
        self.payload_type = payload_type or (payload_type_of(self.handler) if remote else Any)
        self.result_type = result_type or (result_type_of(self.handler) if remote and not self.is_generator else Any)
        self.part_type: Any = Any
        """The type of what the handler yields, if it is a generator function."""
        if self.is_generator:
            self.part_type, self.result_type = part_types_of(self.handler) if remote else (Any, Any)
            self.part_type = result_type or self.part_type
        self.setup: bytes | None = None
        """The setup for worker processes if it is adaptive, pickled before its lifecycle first ran in this process."""
        self.usage = Usage()
        self.remote_usage = self.usage if self.mode == PROCESS else Usage() if self.mode == ADAPTIVE else None
        """The part of the usage that worker processes have; None if it never runs there."""
        self._tier: HandlerTier | None = None

    def _resolve(self, mode: str | Executor) -> str:
        name = describe(self.handler)
        if self.is_generator and (isinstance(mode, Executor) or mode == ADAPTIVE):
            raise ConfigError(
                f"collector {self.key!r}: {name} yields parts, which {'mode=' if mode == ADAPTIVE else ''}{mode!r} "
                f"cannot bring: give it mode={COROUTINE if self.asynchronous else THREAD!r} or mode='process', or "
                f"return a list of the items"
            )
        if isinstance(mode, Executor):
            return EXECUTOR
        if mode not in _MODES:
            raise ConfigError(f"collector {self.key!r}: mode is one of {_MODES} or an Executor, not {mode!r}")
        if mode == "auto":
            return COROUTINE if self.asynchronous else PROCESS
        if mode == COROUTINE and not self.asynchronous and (self.is_generator or _is_plain_function(self.handler)):
            raise ConfigError(
                f"collector {self.key!r}: {name} is a plain function and would block the event loop: {ALTERNATIVES}"
            )
        if mode == THREAD and self.asynchronous:
            raise ConfigError(
                f"collector {self.key!r}: {name} is a coroutine function, which a thread cannot run: "
                f"use mode='coroutine', or mode='process'"
            )
        return mode

    def required_type(self) -> Any:
        """Return the type of value that the handler requires, even if values are not decoded into it; Any by default.

        Raise ConfigError if the handler's annotation cannot be resolved at run time.
        """
        return self.payload_type if self.payload_type is not Any else payload_type_of(self.handler)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the handler directly, as if it had no decorator."""
        return self.handler(*args, **kwargs)

    def attach(self, tier: HandlerTier | None) -> None:
        """Set the tier that runs the handler while the queue runs; None when the queue has stopped.

        Raise ConfigError if the collector belongs to another running queue.
        """
        if tier is not None and self._tier is not None:
            raise ConfigError(
                f"collector {self.key!r} with mode={self.mode!r} belongs to another running queue: "
                f"make a separate Collector for each queue"
            )
        self._tier = tier

    def move_to(self, place: str) -> None:
        """Run events that begin from now on in another mode."""
        self.place = place

    def keep_setup(self, setup: bytes) -> None:
        """Store the setup for worker processes."""
        self.setup = setup

    def replace_processor(self, current: Processor, replacement: Processor) -> None:
        """Replace the processor if it still is `current`; a processor that the application has set stays."""
        if self.processor is current:
            self.processor = replacement

    def wrap_process(self, wrap: Callable[[Process], Process]) -> None:
        """Replace `process()` by a wrapper of it, through which all events of the collector then go."""
        # DeliveryPlan notices that, and takes no shortcuts around it.
        self.process = wrap(self.process)  # type: ignore[method-assign, assignment]

    async def process(self, payload: "Payload[P]") -> Any:
        """Process one payload in the collector's mode and return the outcome of the handler.

        An exception of the handler is raised here, also from a thread or a worker process. Cancellation cancels the
        handler: a coroutine gets CancelledError, a worker process is killed and replaced.

        Raises:
            HandlerTimeout: the handler took longer than `timeout`.
            ConfigError: the handler does not run on the event loop, and the collector belongs to no running queue.
        """
        if self.place == PROCESS or self.is_batched:
            # The tier counts the time in the handler itself, without the wait for a worker.
            return await self._attached().run(self, payload)
        usage, begin = self.usage, clock.now()
        usage.began()
        try:
            if self.place == COROUTINE:
                return await self._call(payload)
            return await self._attached().run(self, payload)
        finally:
            usage.ended(clock.now() - begin)

    def _attached(self) -> HandlerTier:
        if self._tier is None:
            raise ConfigError(
                f"collector {self.key!r} runs in mode={self.mode!r}, which only a running CollectorQueue provides"
            )
        return self._tier

    async def _call(self, payload: Payload[Any]) -> Any:
        outcome = self.processor(payload, self.ctx)
        if not hasattr(outcome, "__await__"):
            if self.is_generator:
                return await produce(outcome, open_sink(self.key), TimeLeft(self.timeout, self.timeout_error))
            raise ConfigError(
                f"collector {self.key!r}: {describe(self.handler)} returned {type(outcome).__name__}, "
                f"which cannot be awaited: {ALTERNATIVES}"
            )
        return await outcome if self.timeout is None else await self.within_timeout(outcome)

    async def within_timeout(self, outcome: Awaitable[Any]) -> Any:
        """Await the outcome of the handler for at most `timeout` seconds, then cancel it and raise HandlerTimeout."""
        return await within(outcome, self.timeout, self.timeout_error)

    def timeout_error(self) -> HandlerTimeout:
        """Return the error of a handler that exceeded the timeout."""
        return HandlerTimeout(describe_timeout(self.key, self.handler, self.timeout))

    def __repr__(self) -> str:
        return f"<Collector key={self.key} mode={self.mode} ctx={self.ctx!r}>"


CollectorDict: TypeAlias = Mapping[str, Collector]
CollectorList: TypeAlias = Sequence[Collector]


def _check(key: Any, processor: Any, timeout: Any, retry: Any) -> None:
    if not isinstance(key, str) or not key:
        raise ConfigError(f"a collector's key is a non-empty string, not {key!r}")
    if isinstance(processor, Collector):
        raise ConfigError(
            f"collector {key!r}: its processor is already a Collector, {processor!r}: pass that one to the queue, or "
            f"make a new Collector of its .handler"
        )
    if not callable(processor):
        raise ConfigError(f"collector {key!r}: the processor must be callable, not {processor!r}")
    if timeout is not None:
        check_seconds(f"collector {key!r}: timeout takes", timeout)
    if retry is not None and not isinstance(retry, Retry):
        raise ConfigError(f"collector {key!r}: retry takes a Retry, such as Retry(max_attempts=5), not {retry!r}")


def _check_options(owner: str, ctx: Any, lifecycle: Any, payload_type: Any, result_type: Any) -> None:
    if ctx is not None and not isinstance(ctx, Context):
        raise ConfigError(f"{owner}: ctx takes a Context, not {ctx!r}: write Context({{...}})")
    check_callable(f"{owner}: lifecycle takes", lifecycle)
    for name, kind in (("payload_type", payload_type), ("result_type", result_type)):
        is_type = isinstance(kind, type) or get_origin(kind) is not None or type(kind).__module__ == "typing"
        if kind is not None and not is_type:
            raise ConfigError(f"{owner}: {name} takes a type such as Order or list[int], not {kind!r}")


def _is_plain_function(processor: Callable[..., Any]) -> bool:
    return getattr(processor, "__name__", "<lambda>") != "<lambda>"


def common_payload_type(collectors: Iterable[Collector[Any, Any]]) -> Any:
    """Return the payload type that all collectors require, Any if they differ."""
    types = [collector.required_type() for collector in collectors]
    return types[0] if types and all(each == types[0] for each in types) else Any
