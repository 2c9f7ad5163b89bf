"""What a queue owes to the program around it: its settings, its memory, true numbers, checks that stay on."""

import asyncio
import copy
import datetime
import decimal
import gc
import json
import pickle
import subprocess
import sys
import textwrap
import tracemalloc
import weakref
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload

PATIENCE = 5.0  # seconds after which a wait counts as a hang


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def run_python(source: str, *options: str) -> Any:
    """Run a script in an interpreter of its own, and return what it printed last, read as JSON."""
    command = [sys.executable, *options, "-c", textwrap.dedent(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# -- checks --

MISTAKES = """
    import json, sys
    from event_collector import Collector, CollectorQueue, Context, Delivery, Payload
    from event_collector.exceptions import ConfigError

    async def echo(payload, ctx):
        return payload.value

    mistakes = {
        "empty key": lambda: Collector("", echo),
        "no processor": lambda: Collector("a", None),
        "topics as a string": lambda: Collector("a", echo, topics="news"),
        "duplicate keys": lambda: CollectorQueue([Collector("a", echo), Collector("a", echo)]),
        "no service window": lambda: CollectorQueue([], event_service_data_window_size=0),
        "keys as a string": lambda: Payload(1, Delivery.KEY, keys="abc"),
        "priority as a string": lambda: Payload(1, priority="high"),
    }
    outcomes = {"optimised": not __debug__}
    for name, mistake in mistakes.items():
        try:
            mistake()
        except ConfigError:
            outcomes[name] = "refused"
        except Exception as error:
            outcomes[name] = repr(error)
        else:
            outcomes[name] = "accepted"
    print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("options", [(), ("-O",)], ids=["plain", "-O"])
def test_mistakes_are_refused_with_and_without_optimisation(options: tuple[str, ...]) -> None:
    """Arguments are checked by `python -O` as well, and every mistake is a ConfigError."""
    outcomes = run_python(MISTAKES, *options)
    assert outcomes.pop("optimised") is bool(options)
    assert outcomes == dict.fromkeys(outcomes, "refused")


# -- the program's own settings --

RUN_A_QUEUE = """
    import asyncio, decimal, json, logging, signal, sys, threading, warnings

    def settings():
        return {
            "root handlers": len(logging.root.handlers),
            "root level": logging.root.level,
            "logger class": logging.getLoggerClass().__name__,
            "precision": decimal.getcontext().prec,
            "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
            "warnings": len(warnings.filters),
            "hooks": [hook.__module__ for hook in (sys.excepthook, threading.excepthook)],
        }

    before = settings()
    import structlog
    from event_collector import Collector, CollectorQueue, Payload

    async def echo(payload, ctx):
        if payload.value == "fail":
            raise ValueError(payload.value)
        return payload.value

    async def main():
        async with CollectorQueue([Collector("echo", echo)], report_interval=0.01) as queue:
            for value in ("good", "fail"):
                await (await queue.get_publisher().send(Payload(value))).wait()
            await asyncio.sleep(0.03)

    asyncio.run(main())
    print(json.dumps({"configured": structlog.is_configured(), "before": before, "after": settings()}))
"""


def test_a_queue_leaves_the_program_as_it_found_it() -> None:
    """A queue that runs and logs leaves logging, structlog, decimals, signals, warnings and hooks alone."""
    seen = run_python(RUN_A_QUEUE)
    assert seen["configured"] is False
    assert seen["after"] == seen["before"]


async def test_a_queue_leaves_the_decimal_context_alone() -> None:
    """A program that calculates with a precision of its own still has it after it made and ran a queue."""
    with decimal.localcontext(prec=7) as mine:
        queue = CollectorQueue([Collector("echo", echo)])
        assert decimal.getcontext() is mine
        async with asyncio.timeout(PATIENCE), queue:
            await (await queue.get_publisher().send(Payload(1))).wait()
            queue.current_load()
            queue.get_metrics()
            assert decimal.getcontext() is mine
        assert decimal.getcontext() is mine
        assert mine.prec == 7


# -- memory --


def test_queues_come_and_go_without_a_trace() -> None:
    """A queue that is no longer used is freed whole, with its loggers: a hundred leave nothing behind."""

    async def make(count: int) -> list[weakref.ref[CollectorQueue]]:
        made = []
        for _ in range(count):
            queue = CollectorQueue([Collector("echo", echo)])
            async with queue:
                await (await queue.get_publisher().send(Payload(1))).wait()
            made.append(weakref.ref(queue))
        return made

    def memory() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    asyncio.run(make(20))
    tracemalloc.start()
    try:
        asyncio.run(make(20))
        growths = []
        for _ in range(3):  # what is left behind grows each time; caches of others, now and then
            before = memory()
            queues = asyncio.run(make(100))
            growths.append(memory() - before)
            assert not any(queue() for queue in queues)
    finally:
        tracemalloc.stop()
    assert min(growths) < 100 * 500


# -- copies --


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda context: pickle.loads(pickle.dumps(context))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_context_can_be_copied_and_pickled(duplicate: Any) -> None:
    """A copy of a Context has the same values, and is another Context."""
    context = Context({"database": "here", "sizes": [1, 2]})
    twin = duplicate(context)
    assert type(twin) is Context
    assert {name: twin[name] for name in twin} == {"database": "here", "sizes": [1, 2]}
    twin["database"] = "there"
    assert context["database"] == "here"
    with pytest.raises(AttributeError):
        _ = twin.missing


def test_a_context_that_is_being_rebuilt_has_no_attributes_yet() -> None:
    """An attribute of a Context that was never initialised is missing, not a recursion without end."""
    with pytest.raises(AttributeError):
        _ = Context.__new__(Context).anything


# -- numbers --


async def test_metrics_are_of_this_moment() -> None:
    """get_metrics() shows at once what was just sent, started and finished, and when it was asked."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def hold(payload: Payload[Any], ctx: Context) -> None:
        entered.set()
        await release.wait()

    queue = CollectorQueue([Collector("hold", hold)], autoscale=False, max_consumers=1)
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE), queue:
        asked = datetime.datetime.now(datetime.UTC)
        for _ in range(3):
            await publisher.send(Payload(None))
        await entered.wait()
        metrics = queue.get_metrics()
        assert (metrics.qsize, metrics.busy, metrics.consumers, metrics.event_count) == (2, 1, 1, 0)
        assert metrics.load == queue.current_load().ratio == 3.0
        assert asked <= metrics.timestamp <= datetime.datetime.now(datetime.UTC)
        release.set()
        await publisher.wait()
        metrics = queue.get_metrics()
        assert (metrics.qsize, metrics.busy, metrics.event_count) == (0, 0, 3)
        assert metrics.service_time > 0.0


async def test_metrics_have_a_final_snapshot() -> None:
    """After the end the metrics tell of every event, however short the run was, and of no consumer."""
    queue = CollectorQueue([Collector("echo", echo)], report_interval=3600.0, logging=False)
    async with asyncio.timeout(PATIENCE):
        async with queue:
            for number in range(25):
                await queue.get_publisher().send(Payload(number))
        metrics = queue.get_metrics()
    assert (metrics.qsize, metrics.busy, metrics.consumers, metrics.event_count) == (0, 0, 0, 25)
    assert metrics.service_time > 0.0
    assert metrics.wait_time >= metrics.service_time
