"""The contestants: each runs a function on many values, and on one, as its own documentation recommends.

Those with processes start them with forkserver, have two of them, or as many as they are told, and are warm when they
are measured.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, NamedTuple

from bench.interpreters import ROOT, Unavailable, existing_library
from event_collector import Collector, CollectorQueue, Delivery, EventPublisher, Payload

from .clock import CLOCK
from .handlers import AsyncHandler, Handler
from .scenarios import BOTH, CARRY, COMPUTE, NOTHING, WAIT, Scenario
from .work import call, call_async

__all__ = ["CONTESTANTS", "Contestant", "Running"]

CHUNKS = 4
"""Chunks for each process, as multiprocessing.Pool.map() makes them by itself."""


class Running(NamedTuple):
    """A contestant that is ready."""

    many: Callable[[Sequence[Any]], Awaitable[list[Any]]]
    """Runs the function on all values and returns the results in their order."""
    one: Callable[[Any], Awaitable[Any]]
    """Runs it on one."""


class Contestant(NamedTuple):
    """One of them.

    Attributes:
        start: makes it ready for a scenario, with so many processes if it has any.
        kinds: of scenarios that it makes sense for.
        processes: whether it has processes.
        serial: whether few run at once, where the work is waiting.
        modules: distributions without which there is nothing to compare with.

    """

    start: Callable[[Scenario, int], AbstractAsyncContextManager[Running]]
    kinds: tuple[str, ...] = (NOTHING, WAIT, COMPUTE, BOTH, CARRY)
    processes: bool = True
    serial: bool = True
    modules: tuple[str, ...] = ()


# -- this library --


async def _send_many(publisher: EventPublisher, values: Sequence[Any]) -> list[Any]:
    events = await publisher.send_many(map(Payload, values))
    return [(await event.wait()).first().unwrap() for event in events]


async def _send_one(publisher: EventPublisher, value: Any) -> Any:
    return (await (await publisher.send(Payload(value))).wait()).first().unwrap()


@contextlib.asynccontextmanager
async def _queue(collector: Collector, workers: int) -> AsyncIterator[Running]:
    queue = CollectorQueue([collector], logging=False, min_workers=workers, max_workers=workers, max_threads=256)
    async with queue:
        publisher = queue.get_publisher()
        yield Running(partial(_send_many, publisher), partial(_send_one, publisher))


def _coroutine(scenario: Scenario, workers: int) -> AbstractAsyncContextManager[Running]:
    return _queue(Collector("measured", AsyncHandler(scenario.function)), workers)


def _thread(scenario: Scenario, workers: int) -> AbstractAsyncContextManager[Running]:
    return _queue(Collector("measured", Handler(scenario.function), mode="thread"), workers)


def _process(scenario: Scenario, workers: int) -> AbstractAsyncContextManager[Running]:
    return _queue(Collector("measured", Handler(scenario.function), mode="process"), workers)


@contextlib.asynccontextmanager
async def _executor(scenario: Scenario, workers: int) -> AsyncIterator[Running]:
    with _pool_executor(workers) as executor:
        async with _queue(Collector("measured", Handler(scenario.function), mode=executor), workers) as running:
            yield running


@contextlib.asynccontextmanager
async def _auto(scenario: Scenario, _workers: int) -> AsyncIterator[Running]:
    """As it comes: what waits is an `async def`, what computes a plain `def`, and the queue sizes its pools itself."""
    collectors = [
        Collector("wait", AsyncHandler(scenario.function), topics=["wait"]),
        Collector("compute", Handler(scenario.function), topics=["compute"]),
    ]
    if scenario.kind != BOTH:
        only = collectors[1] if scenario.kind == COMPUTE else collectors[0]
        async with CollectorQueue([only], logging=False) as queue:
            publisher = queue.get_publisher()
            yield Running(partial(_send_many, publisher), partial(_send_one, publisher))
        return

    async def many(values: Sequence[Any]) -> list[Any]:
        events = await publisher.send_many(
            Payload(value, delivery=Delivery.TOPIC, topics=[value[0]]) for value in values
        )
        return [(await event.wait()).first().unwrap() for event in events]

    async def one(value: Any) -> Any:
        return (await many([value]))[0]

    async with CollectorQueue(collectors, logging=False) as queue:
        publisher = queue.get_publisher()
        yield Running(many, one)


# -- what comes with Python --


@contextlib.asynccontextmanager
async def _bare_asyncio(scenario: Scenario, _workers: int) -> AsyncIterator[Running]:
    """A task for each call, in a task group."""
    function = partial(call_async, scenario.function)

    async def many(values: Sequence[Any]) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(function(value)) for value in values]
        return [task.result() for task in tasks]

    yield Running(many, function)


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.modes.handlers"])
    return context


def _pool_executor(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=_context())


def _chunk(values: Sequence[Any], workers: int) -> int:
    return max(1, -(-len(values) // (CHUNKS * workers)))


@contextlib.asynccontextmanager
async def _run_in_executor(scenario: Scenario, workers: int) -> AsyncIterator[Running]:
    """`loop.run_in_executor()` for each call, as the documentation of asyncio has it."""
    loop, function = asyncio.get_running_loop(), partial(call, scenario.function)
    with _pool_executor(workers) as executor:

        async def one(value: Any) -> Any:
            return await loop.run_in_executor(executor, function, value)

        async def many(values: Sequence[Any]) -> list[Any]:
            return await asyncio.gather(*map(one, values))

        yield Running(many, one)


def _mapping(executor: Executor, scenario: Scenario, workers: int) -> Running:
    """`Executor.map()` with chunks, as its documentation recommends for many calls; from a thread of its own."""
    function = partial(call, scenario.function)

    async def many(values: Sequence[Any]) -> list[Any]:
        size = _chunk(values, workers)
        return await asyncio.to_thread(lambda: list(executor.map(function, values, chunksize=size)))

    async def one(value: Any) -> Any:
        return await asyncio.wrap_future(executor.submit(function, value))

    return Running(many, one)


@contextlib.asynccontextmanager
async def _executor_map(scenario: Scenario, workers: int) -> AsyncIterator[Running]:
    with _pool_executor(workers) as executor:
        yield _mapping(executor, scenario, workers)


@contextlib.asynccontextmanager
async def _multiprocessing_pool(scenario: Scenario, workers: int) -> AsyncIterator[Running]:
    """`Pool.map()`, which makes chunks by itself; from a thread of its own."""
    function = partial(call, scenario.function)
    with _context().Pool(workers) as pool:

        async def many(values: Sequence[Any]) -> list[Any]:
            return await asyncio.to_thread(pool.map, function, values)

        async def one(value: Any) -> Any:
            return await asyncio.to_thread(pool.apply, function, (value,))

        yield Running(many, one)


# -- other libraries --


@contextlib.asynccontextmanager
async def _loky(scenario: Scenario, workers: int) -> AsyncIterator[Running]:
    """`get_reusable_executor()`, as its documentation has it."""
    import loky

    executor = loky.get_reusable_executor(max_workers=workers, timeout=60)
    try:
        yield _mapping(executor, scenario, workers)
    finally:
        executor.shutdown(wait=True, kill_workers=True)


@contextlib.asynccontextmanager
async def _existing_library(scenario: Scenario, _workers: int) -> AsyncIterator[Running]:
    """event-collector 0.2.4 in an interpreter of its own; the pipe that leads there is off the clock."""
    with _existing_process() as (send, receive):

        async def ask(request: dict[str, Any]) -> Any:
            begun = time.perf_counter()
            await asyncio.to_thread(send, {**request, "function": scenario.function})
            answer = await asyncio.to_thread(receive)
            if "error" in answer:
                raise RuntimeError(answer["error"])
            CLOCK.leave_out(time.perf_counter() - begun - answer["seconds"])
            return answer["results"]

        async def many(values: Sequence[Any]) -> list[Any]:
            found: list[Any] = await ask({"values": list(values)})
            return found

        async def one(value: Any) -> Any:
            return (await many([value]))[0]

        yield Running(many, one)


@contextlib.contextmanager
def _existing_process() -> Iterator[tuple[Callable[[Any], None], Callable[[], Any]]]:
    try:
        python = existing_library()
    except Unavailable as exc:
        raise LookupError(str(exc)) from None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    process = subprocess.Popen(
        [str(python), "-m", "modes.existing"], cwd=ROOT / "bench", env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("the process of the existing library has no pipes")

    def send(request: Any) -> None:
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()

    def receive() -> Any:
        line = stdout.readline()
        return json.loads(line) if line else {"error": "the process of the existing library ended"}

    try:
        yield send, receive
    finally:
        stdin.close()
        process.wait()
        stdout.close()


CONTESTANTS: dict[str, Contestant] = {
    "coroutine": Contestant(_coroutine, processes=False, serial=False),
    "thread": Contestant(_thread, processes=False, serial=False),
    "process": Contestant(_process),
    "auto": Contestant(_auto, serial=False),
    "mode=ProcessPoolExecutor": Contestant(_executor),
    "asyncio.TaskGroup": Contestant(_bare_asyncio, processes=False, serial=False),
    "ProcessPoolExecutor, run_in_executor": Contestant(_run_in_executor),
    "ProcessPoolExecutor.map": Contestant(_executor_map),
    "multiprocessing.Pool.map": Contestant(_multiprocessing_pool),
    "loky, map": Contestant(_loky, modules=("loky",)),
    "event-collector 0.2.4": Contestant(
        _existing_library, kinds=(NOTHING, WAIT, COMPUTE, BOTH), processes=False, serial=False
    ),
}
"""By their names in tables; those of this library first."""
