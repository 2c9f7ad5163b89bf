"""Queues in every mode, for the tests that want the same from all of them."""

import asyncio
import multiprocessing
import selectors
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from event_collector import Collector, CollectorQueue, Error, Payload, Result
from event_collector.values.clock import TimeSource, clock
from tests.event_collector import sample_handlers as handlers

BOUND = 30.0
"""Seconds that anything may take before a test gives up: far more than it ever should."""

MODES = {
    "coroutine": handlers.act_async,
    "thread": handlers.act,
    "process": handlers.act,
    "process, async def": handlers.act_async,
    "adaptive, async def": handlers.act_async,
    "adaptive, def in a thread": handlers.act,
    "executor of threads": handlers.act,
    "executor of processes": handlers.act,
    "executor of processes, async def": handlers.act_async,
}
"""Every mode, with a handler that does in it what the payload says."""


class Log:
    """Keeps what is logged, by level."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.lines.append((level, event, fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [{"level": level, **fields} for level, text, fields in self.lines if text == event]


class CountingSelector(selectors.DefaultSelector):
    """Counts the turns of the loop that it serves."""

    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        return super().select(timeout)


@contextmanager
def place(mode: str) -> Iterator[str | Executor]:
    """What `Collector(mode=...)` takes for a mode of the table."""
    name = mode.partition(",")[0]
    if name == "executor of threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    elif name == "executor of processes":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
            processes.submit(handlers.echo, None).result()  # the start of a process counts for no timeout
            yield processes
    else:
        yield name


@contextmanager
def every_place() -> Iterator[dict[str, str | Executor]]:
    """The same for each mode of the table; modes of one executor share it."""
    with ExitStack() as stack:
        places = {name: stack.enter_context(place(name)) for name in {mode.partition(",")[0] for mode in MODES}}
        yield {mode: places[mode.partition(",")[0]] for mode in MODES}


@asynccontextmanager
async def running(*collectors: Collector, **options: Any) -> AsyncIterator[CollectorQueue]:
    """A silent queue; what its test does may take no longer than the bound."""
    options.setdefault("max_workers", 1)
    async with asyncio.timeout(BOUND), CollectorQueue(list(collectors), logging=False, **options) as queue:
        yield queue
        await queue.get_publisher().wait()
        balanced(queue)


async def ask(queue: CollectorQueue, value: Any, **options: Any) -> Result[Any]:
    """Send one payload and return its one result."""
    event = await queue.get_publisher().send(Payload(value, **options))
    balanced(queue)
    results = await event.wait()
    balanced(queue)
    (result,) = results
    return result


async def error_of(queue: CollectorQueue, value: Any) -> BaseException:
    """Send one payload and return the exception in its one result, an Error."""
    result = await ask(queue, value)
    assert isinstance(result, Error), result
    assert isinstance(result.err, BaseException), result
    return result.err


async def assert_alive(queue: CollectorQueue, count: int = 20) -> None:
    """A queue of `act` or `act_async` goes on."""
    events = [await queue.get_publisher().send(Payload(["echo", number])) for number in range(count)]
    assert [(await event.wait()).first().unwrap() for event in events] == list(range(count))


def balanced(queue: CollectorQueue) -> None:
    """Every accepted event is somewhere."""
    count = queue.accounting()
    assert count.accepted == sum(count[1:]), count
    assert min(count) >= 0, count


@asynccontextmanager
async def balanced_all_along(queue: CollectorQueue) -> AsyncIterator[None]:
    """Check that every accepted event is somewhere, every millisecond."""

    async def look() -> None:
        while True:
            balanced(queue)
            await asyncio.sleep(0.001)

    watch = asyncio.create_task(look())
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])
        assert watch.cancelled() or watch.result()
    balanced(queue)


async def until(condition: Any, what: str) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.005)
    assert condition(), what


class Hurry(TimeSource):
    """Real time, in which no wait that the library has chosen itself is longer than this."""

    def __init__(self, seconds: float) -> None:
        self._most = seconds

    def patience(self, seconds: float) -> float:
        return min(seconds, self._most)


@contextmanager
def hurry(seconds: float) -> Iterator[None]:
    """Have no such wait be longer within this context."""
    with clock.using(Hurry(seconds)):
        yield
