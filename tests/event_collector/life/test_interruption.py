"""drain_on_signal(): the first signal ends the queue in order, the second the process."""

import asyncio
import os
import signal
import sys
import threading
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, ConfigError, Context, Payload, QueueShutDown, drain_on_signal
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.modes import BOUND, balanced, until

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": False}


def make() -> CollectorQueue:
    return CollectorQueue([Collector("c", handlers.echo_async)], logging=False)


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_body_that_waits_is_told(number: int) -> None:
    """wait() returns at the signal, received names it, and the handlers that were there before are back afterwards."""
    before = [signal.getsignal(one) for one in SIGNALS]
    queue = make()
    async with asyncio.timeout(BOUND), queue, drain_on_signal(queue) as interruption:
        assert interruption.received is None
        event = await queue.get_publisher().send(Payload(1))
        os.kill(os.getpid(), number)
        await interruption.wait()
        assert interruption.received == number
        assert (await event.wait()).first().unwrap() == 1
        await until(lambda: queue.consumer_count() == 0, "the queue has ended")
        with pytest.raises(QueueShutDown):
            queue.get_publisher().send_nowait(Payload(1))
    assert [signal.getsignal(one) for one in SIGNALS] == before
    balanced(queue)


@pytest.mark.parametrize(("number", "again"), [(signal.SIGTERM, "signal again"), (signal.SIGINT, "press Ctrl-C again")])
async def test_the_signal_is_answered_at_once(
    number: int, again: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error says how many events are finished and how to stop; without standard error the rest goes on."""
    release = asyncio.Event()

    async def wait_for_release(payload: Payload[int], ctx: Context) -> None:
        await release.wait()

    for stderr in (sys.stderr, None):
        queue = CollectorQueue([Collector("c", wait_for_release)], logging=False, max_consumers=2)
        release.clear()
        async with asyncio.timeout(BOUND), queue, drain_on_signal(queue) as interruption:
            await queue.get_publisher().send_many(Payload(n) for n in range(7))
            monkeypatch.setattr(sys, "stderr", stderr)
            os.kill(os.getpid(), number)
            await interruption.wait()
            monkeypatch.undo()
            release.set()
        expected = f"event_collector: finishing 7 events; {again} to stop now\n" if stderr else ""
        assert capfd.readouterr().err == expected
        balanced(queue)


async def test_a_refusal_ends_the_body_and_goes_no_further() -> None:
    """The body need not look: its send() raises, also in the tasks of a group, and all else comes out."""
    queue = make()
    async with asyncio.timeout(BOUND), queue, drain_on_signal(queue) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            await queue.get_publisher().send(Payload(1))
            await asyncio.sleep(0)
    assert interruption.received == signal.SIGTERM

    async def produce() -> None:
        while True:
            await queue.get_publisher().send(Payload(1))
            await asyncio.sleep(0)

    async with asyncio.timeout(BOUND), queue, drain_on_signal(queue):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(produce())
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyError):  # noqa: PT012
        async with asyncio.timeout(BOUND), queue, drain_on_signal(queue):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
            raise KeyError


async def test_without_a_signal_nothing_changes() -> None:
    """The body's own errors come out, a refusal that no signal caused too; leaving it ends the queue."""
    queue = make()
    before = [signal.getsignal(one) for one in SIGNALS]
    async with asyncio.timeout(BOUND), queue, drain_on_signal(queue):
        event = await queue.get_publisher().send(Payload(1))
    assert event.is_done()
    with pytest.raises(QueueShutDown):  # noqa: PT012
        async with asyncio.timeout(BOUND), queue, drain_on_signal(queue):
            await queue.shut_down_queue()
            await queue.get_publisher().send(Payload(1))
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(BOUND), queue, drain_on_signal(queue):
            raise asyncio.CancelledError
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "drain on signal"]


async def test_a_signal_during_the_end_is_the_first_one() -> None:
    """While the queue drains after its body, one signal does not end the process; the handlers are still taken."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        return payload.value

    queue = CollectorQueue([Collector("c", handler)], logging=False)
    async with asyncio.timeout(BOUND), queue, drain_on_signal(queue) as interruption:
        event = await queue.get_publisher().send(Payload(7))
    assert event.get_result().first().unwrap() == 7  # type: ignore[union-attr]
    assert interruption.received == signal.SIGTERM


async def test_an_error_at_the_end_of_a_lifecycle_comes_out() -> None:
    """Whoever began the end, what a lifecycle raises then is not lost."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifecycle(ctx: Context) -> Any:
        yield
        raise RuntimeError("the end of a lifecycle")

    queue = CollectorQueue([Collector("c", handlers.echo_async, lifecycle=lifecycle)], logging=False)
    for is_signalled in (False, True):
        with pytest.raises(RuntimeError, match="the end of a lifecycle"):  # noqa: PT012
            async with asyncio.timeout(BOUND), queue, drain_on_signal(queue) as interruption:
                if is_signalled:
                    os.kill(os.getpid(), signal.SIGTERM)
                    await interruption.wait()


async def test_an_ignored_signal_stays_ignored() -> None:
    """As with nohup: what the parent has had ignored does not end the program."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        queue = make()
        async with asyncio.timeout(BOUND), queue, drain_on_signal(queue) as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
            assert interruption.received is None
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_is_refused() -> None:
    """Python has signals handled in the main thread only, and the error says so; the queue is ended."""
    errors: list[BaseException] = []

    async def main() -> None:
        queue = make()
        async with queue, drain_on_signal(queue):
            pass

    def run() -> None:
        try:
            asyncio.run(main())
        except ConfigError as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(BOUND)
    assert "main thread" in str(errors[0])
