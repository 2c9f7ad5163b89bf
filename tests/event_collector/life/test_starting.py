"""How a queue starts: once, whole or not at all; and how a lifecycle that fails is contained."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector.collector import LifecycleManager

PATIENCE = 5.0  # seconds after which a wait counts as a hang


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


class Plant:
    """Makes lifecycles that keep a log, and fail where they are told to."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.bad_setups: dict[str, Exception] = {}
        self.bad_teardowns: dict[str, Exception] = {}

    def collector(self, name: str) -> Collector:
        return Collector(name, echo, lifecycle=self._lifecycle(name))

    def _lifecycle(self, name: str) -> LifecycleManager:
        @contextlib.asynccontextmanager
        async def lifecycle(ctx: Context) -> AsyncIterator[None]:
            await asyncio.sleep(0)
            self.log.append(f"+{name}")
            if name in self.bad_setups:
                raise self.bad_setups[name]
            try:
                yield
            finally:
                await asyncio.sleep(0)
                self.log.append(f"-{name}")
                if name in self.bad_teardowns:
                    raise self.bad_teardowns[name]

        return lifecycle


async def assert_works(queue: CollectorQueue) -> None:
    """Start the queue, send an event to all its collectors, and stop it."""
    async with queue:
        event = await queue.get_publisher().send(Payload("alive"))
        assert {result.unwrap() for result in await event.wait()} == {"alive"}


# -- setup --


async def test_a_failing_setup_undoes_the_ones_before_it() -> None:
    """The lifecycles that were set up are torn down in reverse, the error comes out, and nothing runs."""
    plant = Plant()
    plant.bad_setups["c"] = ConnectionError("no database")
    queue = CollectorQueue([plant.collector(name) for name in "abcd"], logging=False)
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ConnectionError, match="no database"):
            await queue.init_queue()
    assert plant.log == ["+a", "+b", "+c", "-b", "-a"]
    assert queue.consumer_count() == 0
    assert asyncio.all_tasks() == before


async def test_a_start_that_failed_can_be_repeated() -> None:
    """When the cause of a failed setup is gone the next start works, and processes what was sent before."""
    plant = Plant()
    plant.bad_setups["b"] = ConnectionError("no database")
    queue = CollectorQueue([plant.collector(name) for name in "ab"], logging=False)
    async with asyncio.timeout(PATIENCE):
        event = await queue.get_publisher().send(Payload("kept"))
        for _ in range(2):
            with pytest.raises(ConnectionError):
                async with queue:
                    pytest.fail("the body of a queue that did not start")
        plant.bad_setups.clear()
        plant.log.clear()
        await assert_works(queue)
        assert [result.unwrap() for result in await event.wait()] == ["kept", "kept"]
    assert plant.log == ["+a", "+b", "-b", "-a"]


async def test_a_setup_that_fails_and_a_teardown_that_fails_are_both_told() -> None:
    """When undoing a failed start fails as well, neither error hides the other."""
    plant = Plant()
    plant.bad_setups["b"] = ConnectionError("no database")
    plant.bad_teardowns["a"] = OSError("disk full")
    queue = CollectorQueue([plant.collector(name) for name in "ab"], logging=False)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises((Exception, ExceptionGroup)) as raised:
            await queue.init_queue()
    assert {"no database", "disk full"} <= told(raised.value)
    assert plant.log == ["+a", "+b", "-a"]


def told(error: BaseException | None) -> set[str]:
    """The messages of an error, of all those it groups, and of what they were raised from or during."""
    if error is None:
        return set()
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    messages = {str(error)} | told(error.__cause__) | told(error.__context__)
    return messages.union(*map(told, parts))


async def test_concurrent_starts_set_up_once_and_all_wait() -> None:
    """However many tasks start a queue, each setup runs once, and no start returns before all are done."""
    may_go_on = asyncio.Event()
    setups = 0

    @contextlib.asynccontextmanager
    async def slow(ctx: Context) -> AsyncIterator[None]:
        nonlocal setups
        setups += 1
        await may_go_on.wait()
        yield

    queue = CollectorQueue([Collector("echo", echo, lifecycle=slow)], autoscale=False, max_consumers=3)
    async with asyncio.timeout(PATIENCE):
        starts = [asyncio.create_task(queue.init_queue()) for _ in range(5)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert setups == 1
        assert not any(start.done() for start in starts)
        may_go_on.set()
        await asyncio.gather(*starts)
        assert setups == 1
        assert queue.consumer_count() == 3
        await queue.shut_down_queue()


async def test_a_cancelled_start_leaves_nothing_behind() -> None:
    """Cancelling init_queue() during a setup tears down what was set up; the queue can start later."""
    plant = Plant()
    reached = asyncio.Event()
    patient = True

    @contextlib.asynccontextmanager
    async def stuck(ctx: Context) -> AsyncIterator[None]:
        reached.set()
        if patient:
            await asyncio.sleep(3600)
        yield

    queue = CollectorQueue([plant.collector("a"), Collector("stuck", echo, lifecycle=stuck)], logging=False)
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        start = asyncio.create_task(queue.init_queue())
        await reached.wait()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert plant.log == ["+a", "-a"]
        assert queue.consumer_count() == 0
        assert asyncio.all_tasks() == before
        patient = False
        await assert_works(queue)


# -- teardown --


async def test_a_failing_teardown_does_not_stop_the_others() -> None:
    """All lifecycles are torn down, the queue is down, the error comes out, and the next start works."""
    plant = Plant()
    plant.bad_teardowns["b"] = OSError("disk full")
    queue = CollectorQueue([plant.collector(name) for name in "abc"], logging=False)
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        with pytest.raises(OSError, match="disk full"):
            await queue.shut_down_queue()
        assert plant.log == ["+a", "+b", "+c", "-c", "-b", "-a"]
        assert queue.consumer_count() == 0
        assert asyncio.all_tasks() == before
        plant.bad_teardowns.clear()
        await assert_works(queue)


async def test_several_failing_teardowns_are_all_told() -> None:
    """Errors of several lifecycles come out together, as one ExceptionGroup."""
    plant = Plant()
    plant.bad_teardowns.update(a=OSError("disk full"), c=ConnectionError("gone"))
    queue = CollectorQueue([plant.collector(name) for name in "abc"], logging=False)
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        with pytest.raises(ExceptionGroup) as raised:
            await queue.shut_down_queue()
    assert {str(error) for error in raised.value.exceptions} == {"disk full", "gone"}
    assert plant.log == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert queue.consumer_count() == 0


async def test_the_error_of_the_body_is_not_hidden_by_a_failing_teardown() -> None:
    """When the body and a teardown fail, both errors can be read from what comes out."""
    plant = Plant()
    plant.bad_teardowns["a"] = OSError("disk full")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises((Exception, ExceptionGroup)) as raised:
            async with CollectorQueue([plant.collector("a")], logging=False):
                raise RuntimeError("the body failed")
    assert {"the body failed", "disk full"} <= told(raised.value)


# -- options --


async def test_metrics_need_no_warm_up() -> None:
    """metrics_warmup_interval=0 starts, works and stops like any other value."""
    queue = CollectorQueue([Collector("echo", echo)], metrics_warmup_interval=0)
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        await assert_works(queue)
        async with queue:
            assert queue.get_metrics().arrival_rate >= 0.0
    assert asyncio.all_tasks() == before
