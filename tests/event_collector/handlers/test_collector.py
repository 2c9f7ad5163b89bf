"""Collectors: what they hold, what may process their payloads, and their lifecycle."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Error, Ok, Payload, Result
from event_collector.exceptions import ConfigError

Handler = Callable[[Payload[Any], Context], Awaitable[Any]]


async def echo(payload: Payload[Any], ctx: Context) -> Result:
    return Ok(payload.value)


async def echo_value(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def result_of(collector: Collector, payload: Payload[Any]) -> Any:
    """Send one payload through a queue of one collector and return the only result."""
    async with CollectorQueue([collector], logging=False) as queue:
        event = await queue.get_publisher().send(payload)
        (result,) = await event.wait()
    return result


def test_a_collector_shows_what_it_was_made_of() -> None:
    """Key, processor, topics, context and lifecycle can be read."""
    ctx = Context({"a": 1})

    @contextlib.asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        yield

    collector = Collector("orders", echo, topics=["new", "paid"], ctx=ctx, lifecycle=lifecycle)
    assert (collector.key, collector.processor, list(collector.topics)) == ("orders", echo, ["new", "paid"])
    assert collector.ctx is ctx
    assert collector.lifecycle is lifecycle
    assert "orders" in repr(collector)


def test_a_collector_needs_only_a_key_and_a_processor() -> None:
    """By default there are no topics, no lifecycle, and a context of its own."""
    first, second = Collector("a", echo), Collector("b", echo)
    assert list(first.topics) == []
    assert first.lifecycle is None
    assert len(first.ctx) == 0
    first.ctx.x = 1
    assert len(second.ctx) == 0


def test_the_options_of_a_collector_cannot_be_given_by_position() -> None:
    """A third positional argument is a TypeError, not taken for topics."""
    with pytest.raises(TypeError):
        Collector("a", echo, ["topic"])  # type: ignore[call-arg]


def test_a_collector_without_a_key_is_refused() -> None:
    """The error is a ConfigError, and a ValueError for those who do not know ours."""
    with pytest.raises(ConfigError) as caught:
        Collector("", echo)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("processor", [None, 3, "module:function"])
def test_a_processor_that_cannot_be_called_is_refused(processor: Any) -> None:
    """The error names the collector."""
    with pytest.raises(ConfigError, match="orders") as caught:
        Collector("orders", processor)
    assert isinstance(caught.value, ValueError)


async def test_process_awaits_the_processor_with_payload_and_context() -> None:
    """The processor gets the payload itself and the collector's context; its value comes back as it is."""
    seen: list[Any] = []

    async def processor(payload: Payload[Any], ctx: Context) -> str:
        seen.extend([payload, ctx])
        return "value"

    collector, payload = Collector("a", processor), Payload(1)
    assert await collector.process(payload) == "value"
    assert seen == [payload, collector.ctx]


async def test_process_lets_exceptions_out() -> None:
    """Only the queue turns exceptions into results: a collector called by hand raises."""

    async def processor(payload: Payload[Any], ctx: Context) -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await Collector("a", processor).process(Payload(1))


class Doubler:
    """Processors in every form that a class can give them."""

    factor = 2

    async def __call__(self, payload: Payload[int], ctx: Context) -> int:
        return payload.value * self.factor

    async def method(self, payload: Payload[int], ctx: Context) -> int:
        return payload.value * self.factor

    @classmethod
    async def class_method(cls, payload: Payload[int], ctx: Context) -> int:
        return payload.value * cls.factor

    @staticmethod
    async def static_method(payload: Payload[int], ctx: Context) -> int:
        return payload.value * 2


async def multiply(factor: int, payload: Payload[int], ctx: Context) -> int:
    return payload.value * factor


def counted(handler: Handler) -> Handler:
    """Decorate a handler the usual way: a plain function that returns the handler's coroutine."""

    @functools.wraps(handler)
    def wrapper(payload: Payload[Any], ctx: Context) -> Awaitable[Any]:
        ctx.calls = 1
        return handler(payload, ctx)

    return wrapper


@counted
async def decorated(payload: Payload[int], ctx: Context) -> Any:
    return payload.value * 2 * ctx.calls


PROCESSORS: dict[str, Handler] = {
    "callable object": Doubler(),
    "bound method": Doubler().method,
    "class method": Doubler.class_method,
    "static method": Doubler.static_method,
    "partial": functools.partial(multiply, 2),
    "decorated": decorated,
}


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
async def test_whatever_can_be_called_and_awaited_is_a_processor(processor: Handler) -> None:
    """Objects, methods, partials and decorated functions process payloads as functions do."""
    assert (await result_of(Collector("a", processor), Payload(21))).unwrap() == 42


@pytest.mark.parametrize("value", [None, 0, "text", {"a": 1}, [Ok(1)], ValueError("returned, not raised")])
async def test_a_returned_value_becomes_an_ok(value: Any) -> None:
    """A handler need not wrap what it returns, whatever that is."""

    async def processor(payload: Payload[Any], ctx: Context) -> Any:
        return payload.value

    result = await result_of(Collector("a", processor), Payload(value))
    assert isinstance(result, Ok)
    assert result.value is value


async def test_a_returned_error_stays_an_error() -> None:
    """A handler may fail without raising, and its details are kept."""

    async def processor(payload: Payload[Any], ctx: Context) -> Result:
        return Error("refused", {"code": payload.value})

    result = await result_of(Collector("a", processor), Payload(403))
    assert (result.err, result.details) == ("refused", {"code": 403})


async def test_a_raised_exception_becomes_an_error_with_details() -> None:
    """The error is the exception, and the details say what was called with what, and where it failed."""
    raised = LookupError("gone")

    async def processor(payload: Payload[Any], ctx: Context) -> None:
        raise raised

    payload: Payload[Any] = Payload(1)
    result = await result_of(Collector("a", processor), payload)
    assert result.err is raised
    assert set(result.details) >= {"func", "args", "kwargs", "exc", "trace"}
    assert callable(result.details["func"])
    assert result.details["args"][0] is payload
    assert result.details["exc"] is raised
    assert "LookupError: gone" in result.details["trace"]
    assert "in processor" in result.details["trace"]


async def test_a_handler_sees_the_value_that_was_sent() -> None:
    """The value reaches a coroutine handler uncopied: it may be any object, and changes to it are seen."""
    value: dict[str, Any] = {"lock": object()}

    async def processor(payload: Payload[Any], ctx: Context) -> bool:
        payload.value["seen"] = True
        return payload.value is value

    assert (await result_of(Collector("a", processor), Payload(value))).unwrap() is True
    assert value["seen"] is True


async def test_a_handler_gets_the_payload_object_that_was_sent() -> None:
    """A program's own payload class arrives as it is."""

    class Traced(Payload[Any]):
        def __init__(self, value: Any, trace: str) -> None:
            super().__init__(value)
            self.trace = trace

    async def processor(payload: Payload[Any], ctx: Context) -> str:
        assert isinstance(payload, Traced)
        return payload.trace

    assert (await result_of(Collector("a", processor), Traced(1, "id-1"))).unwrap() == "id-1"


async def test_a_handler_may_use_timeouts_and_task_groups() -> None:
    """A handler runs in a task of its own, as far as it can tell."""

    async def processor(payload: Payload[Any], ctx: Context) -> Any:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, value)) for value in range(3)]
        return [task.result() for task in tasks]

    assert (await result_of(Collector("a", processor), Payload(None))).unwrap() == [0, 1, 2]


async def test_a_timeout_inside_a_handler_is_its_error() -> None:
    """A TimeoutError that leaves the handler is a failure like any other."""

    async def processor(payload: Payload[Any], ctx: Context) -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    assert isinstance((await result_of(Collector("a", processor), Payload(None))).err, TimeoutError)


async def test_a_context_lives_as_long_as_its_collector() -> None:
    """What a handler puts into the context is there for the next event, and after the queue has ended."""

    async def processor(payload: Payload[Any], ctx: Context) -> Any:
        ctx.total = getattr(ctx, "total", 0) + payload.value
        return ctx.total

    collector = Collector("a", processor)
    for expected in (2, 4):
        assert (await result_of(collector, Payload(2))).unwrap() == expected
    assert collector.ctx.total == 4


async def test_collectors_may_share_a_context() -> None:
    """Two collectors that are given one context see each other's values."""
    ctx = Context()

    async def write(payload: Payload[Any], ctx: Context) -> None:
        ctx.value = payload.value

    async def read(payload: Payload[Any], ctx: Context) -> Any:
        return ctx.value

    await result_of(Collector("write", write, ctx=ctx), Payload(5))
    assert (await result_of(Collector("read", read, ctx=ctx), Payload(None))).unwrap() == 5


async def test_a_subclass_may_process_payloads_its_own_way() -> None:
    """The queue calls process(), so a subclass can wrap every call of its processor."""

    class Timed(Collector):
        async def process(self, payload: Payload[Any]) -> Any:
            return "timed", await super().process(payload)

    assert (await result_of(Timed("a", echo_value), Payload(1))).unwrap() == ("timed", 1)


async def test_process_may_be_replaced_on_a_collector() -> None:
    """A program, or its test, may wrap the method of one collector before the start."""
    collector = Collector("a", echo_value)
    process = collector.process

    async def traced(payload: Payload[Any]) -> Any:
        return "traced", await process(payload)

    collector.process = traced  # type: ignore[method-assign]
    assert (await result_of(collector, Payload(1))).unwrap() == ("traced", 1)


async def test_a_lifecycle_surrounds_all_events() -> None:
    """It is called with the collector's context, entered before the first event, left after the last."""
    log: list[Any] = []

    @contextlib.asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        ctx.connection = "open"
        log.append("set up")
        yield
        log.append("torn down")

    async def processor(payload: Payload[Any], ctx: Context) -> None:
        log.append((payload.value, ctx.connection))

    collector = Collector("a", processor, lifecycle=lifecycle)
    async with CollectorQueue([collector], logging=False) as queue:
        assert log == ["set up"]
        for value in range(2):
            await queue.get_publisher().send(Payload(value))
    assert log == ["set up", (0, "open"), (1, "open"), "torn down"]


async def test_a_lifecycle_may_be_a_class() -> None:
    """A class whose instances are asynchronous context managers serves as a lifecycle."""
    log: list[Any] = []

    class Connection:
        def __init__(self, ctx: Context) -> None:
            self.ctx = ctx

        async def __aenter__(self) -> "Connection":
            self.ctx.connection = self
            return self

        async def __aexit__(self, *exc_info: object) -> None:
            log.append(exc_info)

    async def processor(payload: Payload[Any], ctx: Context) -> str:
        return type(ctx.connection).__name__

    result = await result_of(Collector("a", processor, lifecycle=Connection), Payload(1))
    assert result.unwrap() == "Connection"
    assert log == [(None, None, None)]


async def test_lifecycles_are_left_in_reverse_order() -> None:
    """They are entered in the order of the collectors, and the last one entered is left first."""
    log: list[str] = []

    def lifecycle(name: str) -> Any:
        @contextlib.asynccontextmanager
        async def manager(ctx: Context) -> AsyncIterator[None]:
            log.append(f"+{name}")
            yield
            log.append(f"-{name}")

        return manager

    collectors = [Collector(name, echo, lifecycle=lifecycle(name)) for name in "abc"]
    async with CollectorQueue(collectors, logging=False):
        pass
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]


@pytest.mark.parametrize("managed", [True, False], ids=["async with", "init_queue"])
async def test_an_error_in_a_setup_comes_out_of_the_start(managed: bool) -> None:
    """The program sees why its collector cannot work, and the queue does not run."""

    @contextlib.asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        raise ConnectionError("no database")
        yield

    queue = CollectorQueue([Collector("a", echo, lifecycle=lifecycle)], logging=False)
    with pytest.raises(ConnectionError, match="no database"):
        await (queue.__aenter__() if managed else queue.init_queue())
    assert queue.consumer_count() == 0


def answering(answer: str) -> Handler:
    async def handler(payload: Payload[Any], ctx: Context) -> str:
        return answer

    return handler


async def test_a_processor_is_replaced_only_where_it_is_the_expected_one() -> None:
    """A stand-in takes the place of the handler, and leaves it, unless the application has set a processor."""
    collector = Collector("c", echo)
    stand_in, own = answering("stand-in"), answering("own")
    collector.replace_processor(echo, stand_in)
    assert await collector.process(Payload(1)) == "stand-in"
    collector.processor = own
    collector.replace_processor(stand_in, echo)
    assert await collector.process(Payload(1)) == "own"


async def test_a_wrapper_of_process_sees_every_payload() -> None:
    """A wrapper calls what process() was before, which may be another wrapper."""
    collector = Collector("c", echo_value)
    seen: list[tuple[str, Any]] = []

    def wrap(name: str, process: Any) -> Any:
        async def wrapped(payload: Payload[Any]) -> Any:
            seen.append((name, payload.value))
            return await process(payload)

        return wrapped

    for name in ("inner", "outer"):
        collector.wrap_process(functools.partial(wrap, name))
    result = await result_of(collector, Payload(1))
    assert result.unwrap() == 1
    assert seen == [("outer", 1), ("inner", 1)]
