"""Collectors: a handler with its key, topics, context and lifecycle, and the place where it runs."""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, Unpack, overload

from event_collector.encoding.codec_options import CodecOption
from event_collector.handlers.batch import Batch, BatchSignature
from event_collector.handlers.collector_checks import (
    LOG,
    add_to_context,
    check_place,
    check_policies,
    check_processor,
    check_surroundings,
    check_workers,
    is_plain_function,
    runs_in_threads,
)
from event_collector.handlers.lifecycle import LifecycleManager
from event_collector.handlers.parts import TimeLeft, open_sink, produce
from event_collector.handlers.progress_reports import Pulse, begin_pulse
from event_collector.handlers.retry import Retry
from event_collector.handlers.signature import (
    describe,
    describe_silence,
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
from event_collector.handlers.value_handler import ValueHandler, ValuesHandler
from event_collector.values.clock import clock
from event_collector.values.context import Context
from event_collector.values.errors import ConfigError, HandlerTimeout, HeartbeatTimeout
from event_collector.values.payload import Payload, to_strings
from event_collector.values.results import Keyed, R
from event_collector_workers.job import TimeLimit

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from event_collector.handlers.handler_types import BatchHandler, BatchOptions, CollectorOptions, Handler
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


def _nothing(_event_id: int) -> None:
    """Do nothing: an event that has begun is in its handler."""


class HandlerTier(Protocol):
    """Runs handlers outside the event loop, or for several events at once."""

    async def run(self, collector: "Collector", payload: Any) -> Any:
        """Run the handler and return its outcome, or raise its exception. `payload` is what the handler gets."""


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
        heartbeat: seconds for which the handler may report nothing by `progress()`, more than 0; it is then stopped as
            after its timeout, with HeartbeatTimeout. One that reports may take any time, up to `timeout`. None for no
            limit. Not for handlers that yield, nor for executors of processes.
        retry: the policy for failed attempts; None for no retry.
        batch: makes the handler a batch handler, `(values) -> results` or `(payloads, ctx) -> results`. It gets a list,
            and returns a list with one result for each item, in order, which may be an Error. The queue collects events
            for each call, and every event has a result of its own. If a call fails, each of its events is tried alone.
            `timeout` then limits a call. Payload and result types are those of an item. None for a handler that gets
            one event.
        on_error: "log": an event that fails is logged if nobody has looked at its results by the time it is garbage, or
            the queue ends. "ignore": it is not.
        workers: the group of worker processes that it runs in, one of the `worker_groups=` of the queue; None for the
            workers that have no group.
        shared: data that handlers find in `ctx`, such as `ctx.model`. It must be picklable for worker processes, where
            its arrays are read-only views of memory that all of them share. Bytes are views in each mode.
        codec: how values travel between processes: a `Codec` with hooks of this collector, "pickle" or "cloudpickle".

    Raises:
        ConfigError: the key is empty; the processor is not callable, does not have one of the two forms, or it is
            ambiguous which one; the mode does not suit the handler; a batch handler is annotated to take or return no
            list, yields, or is adaptive; or an option does not accept its value.
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
        @overload
        def __init__(
            self,
            key: str,
            processor: BatchHandler[P, Awaitable[Collection[Ok[R] | Error[Any]]]],
            **options: Unpack[BatchOptions],
        ) -> None: ...
        @overload
        def __init__(
            self, key: str, processor: BatchHandler[P, Awaitable[Collection[R]]], **options: Unpack[BatchOptions]
        ) -> None: ...
        @overload
        def __init__(
            self, key: str, processor: BatchHandler[P, Collection[Ok[R] | Error[Any]]], **options: Unpack[BatchOptions]
        ) -> None: ...
        @overload
        def __init__(
            self, key: str, processor: BatchHandler[P, Collection[R]], **options: Unpack[BatchOptions]
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
        heartbeat: float | None = None,
        retry: Retry | None = None,
        batch: Batch | None = None,
        on_error: str = LOG,
        workers: str | None = None,
        codec: CodecOption = None,
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        check_processor(key, processor)
        if isinstance(processor, Collector):
            raise ConfigError(
                f"collector {key!r}: its processor is already a Collector, {processor!r}: pass that one to the queue, "
                f"or make a new Collector of its .handler"
            )
        check_policies(f"collector {key!r}", timeout, heartbeat, retry, batch, on_error, codec)
        self.key, self.batch = key, batch
        self.handler: Callable[..., Any] = (
            processor.handler if isinstance(processor, (ValueHandler, ValuesHandler)) else processor
        )
        self.processor: Any = self._adapt(f"collector {key!r}")
        """Called with a payload and the context: the handler, an adapter of it, or a stand-in that measures it. That of
        a batch handler is called with a list of payloads."""
        check_surroundings(f"collector {key!r}", ctx, lifecycle, payload_type, result_type)
        self.topics = to_strings(f"collector {key!r}: topics", topics)
        self.ctx = ctx if ctx is not None else Context()
        self.shared = add_to_context(f"collector {key!r}: shared", shared, self.ctx)
        self.lifecycle = lifecycle
        self.timeout, self.heartbeat = timeout, heartbeat
        self.is_limited = timeout is not None or heartbeat is not None
        self.retry, self.on_error, self.codec = retry, on_error, codec
        self.asynchronous = is_asynchronous(self.handler)
        self.is_generator = yields_parts(self.handler)
        """Whether its handler is a generator function, so that its events have parts."""
        self.executor = mode if isinstance(mode, Executor) else None
        self.mode = self._resolve(mode)
        self.automatic = mode == "auto"
        self.home = self.mode if self.mode != ADAPTIVE else COROUTINE if self.asynchronous else THREAD
        """The mode in which it runs, or starts if it is adaptive."""
        self.worker_group = check_workers(f"collector {key!r}", workers, self.mode in (PROCESS, ADAPTIVE), self.mode)
        self.place = self.home
        """The mode in which the next event runs; only `move_to()` changes it, for adaptive collectors."""
        self.is_in_processes = self.executor is not None and not runs_in_threads(self.executor)
        """Whether it runs in the processes of an executor, where a task may have several events."""
        check_place(f"collector {key!r}", self)
        remote = self.mode in (PROCESS, ADAPTIVE) or self.is_in_processes
        self.payload_type = payload_type or (payload_type_of(self._of_one) if remote else Any)
        self.result_type = result_type or (result_type_of(self._of_one) if remote and not self.is_generator else Any)
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
        self.expire: Callable[[int], None] = _nothing  # takes the id of an event whose deadline passes

    def _adapt(self, owner: str) -> Any:
        """Return what is called with payload and context, and note the function whose signature is for one event."""
        if self.batch is None:
            self._of_one = self.handler
            return ValueHandler(self.handler) if takes_value(self.handler, owner) else self.handler
        signature = BatchSignature(self.handler, owner)
        self._of_one = signature.of_one
        return ValuesHandler(self.handler) if signature.takes_values else self.handler

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
        if mode == ADAPTIVE and self.batch is not None:
            raise ConfigError(
                f"collector {self.key!r}: a batch handler cannot move between this process and workers, as "
                f"mode='adaptive' would have it: choose one of {COROUTINE!r}, {THREAD!r} and {PROCESS!r}"
            )
        if mode == COROUTINE and not self.asynchronous and (self.is_generator or is_plain_function(self.handler)):
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
        return self.payload_type if self.payload_type is not Any else payload_type_of(self._of_one)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the handler directly, as if it had no decorator."""
        return self.handler(*args, **kwargs)

    def attach(self, tier: HandlerTier | None, expire: Callable[[int], None] = _nothing) -> None:
        """Set the tier that runs the handler while the queue runs; None when the queue has stopped.

        `expire` is called with the id of an event that has begun when its deadline passes. Raise ConfigError if the
        collector belongs to another running queue.
        """
        if tier is not None and self._tier is not None:
            raise ConfigError(
                f"collector {self.key!r} with mode={self.mode!r} belongs to another running queue: "
                f"make a separate Collector for each queue"
            )
        self._tier = tier
        self.expire = expire

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
        if self.place == PROCESS or self.is_in_processes or self.batch is not None:
            # The tier counts the time in the handler itself, without the wait for a worker or for other events.
            return await self._attached().run(self, payload)
        usage, begin = self.usage, clock.now()
        usage.began()
        try:
            if self.place == COROUTINE:
                return await self.call_handler(payload)
            return await self._attached().run(self, payload)
        finally:
            usage.ended(clock.now() - begin)

    def _attached(self) -> HandlerTier:
        if self._tier is None:
            raise ConfigError(
                f"collector {self.key!r} runs in mode={self.mode!r}, which only a running CollectorQueue provides"
            )
        return self._tier

    async def call_handler(self, payload: Any) -> Any:
        """Call the handler on the event loop and return its outcome; a batch handler with a list of payloads."""
        pulse = self.begin_pulse() if self.heartbeat is not None else None
        outcome = self.processor(payload, self.ctx)
        if not hasattr(outcome, "__await__"):
            if self.is_generator:
                return await produce(outcome, open_sink(self.key), TimeLeft(self.timeout, self.timeout_error))
            raise ConfigError(
                f"collector {self.key!r}: {describe(self.handler)} returned {type(outcome).__name__}, "
                f"which cannot be awaited: {ALTERNATIVES}"
            )
        return await self.within_limits(outcome, pulse) if self.is_limited else await outcome

    def begin_pulse(self) -> Pulse | None:
        """Begin to note the reports of a handler that is called in this context; None if it has no heartbeat."""
        return None if self.heartbeat is None else begin_pulse()

    async def within_limits(self, outcome: Awaitable[Any], pulse: Pulse | None) -> Any:
        """Await the outcome of the handler within its limits, then cancel it and raise HandlerTimeout."""
        if not self.is_limited:
            return await outcome
        return await within(outcome, TimeLimit(self.timeout, self.heartbeat), pulse, self.timeout_error)

    def timeout_error(self, *, is_silent: bool = False, place: str = "") -> HandlerTimeout:
        """Return the error of a handler that exceeded its timeout, or its heartbeat if it `is_silent`.

        `place`: where it was then, if that is known.
        """
        where = f"; it was in {place}" if place else ""
        if is_silent:
            return HeartbeatTimeout(describe_silence(self.key, self.handler, self.heartbeat) + where)
        return HandlerTimeout(describe_timeout(self.key, self.handler, self.timeout) + where)

    @property
    def takes_batches(self) -> bool:
        """Whether it has a batch handler."""
        return self.batch is not None

    def __repr__(self) -> str:
        return f"<Collector key={self.key} mode={self.mode} ctx={self.ctx!r}>"


CollectorDict: TypeAlias = Mapping[str, Collector]
CollectorList: TypeAlias = Sequence[Collector | Callable[..., Any]]


def common_payload_type(collectors: Iterable[Collector[Any, Any]]) -> Any:
    """Return the payload type that all collectors require, Any if they differ."""
    types = [collector.required_type() for collector in collectors]
    return types[0] if types and all(each == types[0] for each in types) else Any
