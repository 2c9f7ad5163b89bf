"""Snapshots of a queue: their figures, their rates, and their encoding as a line of JSON."""

import asyncio
import threading
from collections import deque
from typing import Any

import msgspec
import pytest

from event_collector import Collector, CollectorQueue, Context, Error, Payload, Retry
from event_collector.watching.feeds import FeedBoard
from event_collector.watching.metrics import NOTHING, Accounting, CollectorMetrics, Percentiles
from event_collector.watching.observer import STALE, Observer, ThreadSafeObserver
from event_collector.watching.snapshot import decode_snapshot, encode_snapshot
from event_collector_workers.statistics import PoolStatistics
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import BOUND


@pytest.fixture
def anyio_backend() -> str:
    """Run on one event loop only: figures do not depend on it, and processes start slowly."""
    return "asyncio"


class Stub:
    """A queue whose figures are set by hand."""

    def __init__(self) -> None:
        self.state, self.dropped = "running", 0
        self.histograms, self.paused, self.feeds = None, (False, ()), FeedBoard()
        self.changes: deque[Any] = deque()
        self.finished = 0

    def accounting(self) -> Accounting:
        return Accounting(self.finished + 3, self.finished, 1, 2)

    def metrics(self) -> Any:
        return NOTHING

    def collector_metrics(self, _memo: object) -> dict[str, CollectorMetrics]:
        times = Percentiles(0.0, 0.0, 0.0)
        return {"a": CollectorMetrics("a", "coroutine", self.finished, 1, times, times)}

    def worker_statistics(self) -> dict[str, PoolStatistics]:
        return {}

    def problems(self) -> dict[str, str]:
        return {}

    def progress(self) -> list[Any]:
        return []

    def journal(self) -> None:
        return None


def test_rates_cover_the_time_since_the_previous_snapshot() -> None:
    """The first snapshot has no rates; later ones have them, unless the previous one is old."""
    now, stub = [100.0], Stub()
    observer = Observer("queue", stub, stub, clock=lambda: now[0], cpu=lambda: now[0] / 4)
    first = observer.look()
    assert (first.elapsed, first.departure_rate, first.collectors[0].rate, first.cpu) == (None, None, None, None)
    now[0], stub.finished = 102.0, 30
    second = observer.look()
    assert (second.elapsed, second.arrival_rate, second.departure_rate) == (2.0, 15.0, 15.0)
    assert (second.collectors[0].rate, second.cpu) == (15.0, 0.25)
    now[0] += STALE + 1
    assert observer.look().departure_rate is None
    now[0] += 1
    assert observer.look().departure_rate == 0.0


def test_the_last_failure_names_the_worker_group() -> None:
    """Workers of several groups have the same numbers; those without a group need no name."""
    text = "worker 0 (pid 7) exited with code 3"
    pool = PoolStatistics(1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0.0, 0.0, 0.0, ())
    for group, words in (("default", text), ("gpu", f"worker group gpu: {text}")):
        stub, pools = Stub(), {"cpu": pool, group: msgspec.structs.replace(pool, last_failure=text)}
        stub.worker_statistics = lambda pools=pools: pools
        assert Observer("q", stub, stub).look().worker_failure == words


def test_a_snapshot_survives_json() -> None:
    """A decoded snapshot equals the encoded one, which is a single line."""
    stub = Stub()
    snapshot = Observer("two\nlines", stub, stub).look()
    line = encode_snapshot(snapshot)
    assert line.count(b"\n") == 1
    assert decode_snapshot(line) == snapshot


def test_a_snapshot_of_another_version_is_refused() -> None:
    """An unknown field is skipped; another version, and a line that is no snapshot, are errors."""
    stub = Stub()
    snapshot = msgspec.to_builtins(Observer("queue", stub, stub).look())
    assert decode_snapshot(msgspec.json.encode({**snapshot, "new": 1})).queue == "queue"
    with pytest.raises(ValueError, match="snapshots of version 2, this program reads version 1"):
        decode_snapshot(msgspec.json.encode({"version": 2}))
    for line in (b"HTTP/1.1 400 Bad Request", b"{}", b"[" * 100_000, msgspec.json.encode({"version": 1})):
        with pytest.raises(ValueError, match="no snapshot of a queue"):
            decode_snapshot(line)


async def test_a_snapshot_has_workers_and_where_events_are() -> None:
    """A worker has its pid and the age of its event; the places of events add up to the accepted ones."""
    queue = CollectorQueue([Collector("act", handlers.act)], max_workers=1, logging=False)
    async with asyncio.timeout(BOUND), queue:
        publisher = queue.get_publisher()
        await (await publisher.send(Payload(["echo", 1]))).wait()
        events = await publisher.send_many(Payload(["sleep", 30]) for _ in range(3))
        while not any(worker.job_seconds for worker in queue.snapshot().workers):
            await asyncio.sleep(0.01)
        snapshot = queue.snapshot()
        for event in events:
            event.cancel()
        await publisher.wait()
    where = snapshot.events
    assert where.accepted == 4 == where.finished + where.in_handlers + where.queued + where.scheduled + where.dead
    (worker,), (collector,) = snapshot.workers, snapshot.collectors
    assert isinstance(worker.pid, int)
    assert worker.state == "ready"
    assert worker.memory is None or worker.memory > 0
    assert (collector.key, collector.place, collector.events) == ("act", "process", 1)
    assert collector.busy + (collector.queued or 0) == 3
    assert queue.snapshot().state == "stopped"


# -- errors --


async def fail(payload: Payload[Any], ctx: Context) -> Any:
    """Raise, or return an Error, or neither."""
    if payload.value == "raise":
        raise ValueError(payload.value)
    return Error("returned") if payload.value == "return" else payload.value


async def fine(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def fail_plainly(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "raise":
        raise ValueError(payload.value)
    return Error("returned") if payload.value == "return" else payload.value


@pytest.mark.parametrize(
    "options",
    [
        {"processor": fail},
        {"processor": fail, "timeout": 30.0},
        {"processor": fail_plainly, "mode": "thread"},
        {"processor": fail_plainly, "mode": "process"},
    ],
    ids=["coroutine", "with a timeout", "thread", "process"],
)
@pytest.mark.parametrize("several", [False, True], ids=["alone", "one of two"])
async def test_errors_are_counted_by_collector(options: dict[str, Any], several: bool) -> None:
    """An exception and a returned Error count once each, in every mode, for their own collector only."""
    collectors = [Collector("fails", **options)] + [Collector("fine", fine)] * several
    queue = CollectorQueue(collectors, max_workers=1, logging=False)
    async with asyncio.timeout(BOUND), queue:
        await queue.get_publisher().send_many(map(Payload, ("raise", "return", "fine", "raise")))
        await queue.get_publisher().wait()
        errors = {key: figures.error_count for key, figures in queue.collector_metrics().items()}
    assert errors == {"fails": 3, "fine": 0} if several else {"fails": 3}


async def test_each_attempt_that_fails_is_an_error() -> None:
    """With retry= an event may fail several times, and is one dead letter in the end."""
    retry = Retry(max_attempts=3, backoff=0.0)
    queue = CollectorQueue([Collector("fails", fail, retry=retry)], logging=False)
    async with asyncio.timeout(BOUND), queue:
        await (await queue.get_publisher().send(Payload("raise"))).wait()
        snapshot = queue.snapshot()
    assert (snapshot.collectors[0].errors, snapshot.events.dead) == (3, 1)


@pytest.mark.parametrize("several", [False, True], ids=["alone", "one of two"])
async def test_each_attempt_has_an_outcome(several: bool) -> None:
    """An event that succeeds at its third attempt counts as two errors and one success, also for a single collector."""

    async def fail_twice(payload: Payload[Any], ctx: Context) -> None:
        if payload.attempt < 3:
            raise ValueError(payload.attempt)

    retry = Retry(max_attempts=3, backoff=0.0)
    collectors = [Collector("fails", fail_twice, retry=retry)] + [Collector("fine", fine)] * several
    async with asyncio.timeout(BOUND), CollectorQueue(collectors, logging=False) as queue:
        await (await queue.get_publisher().send(Payload(None))).wait()
        snapshot = queue.snapshot()
    assert snapshot.collectors[0].outcomes == (1, 2)
    assert snapshot.events.ended == 1


# -- other threads --


class StubQueue:
    """A queue in this event loop, or in none, whose observer may fail."""

    id = "orders"

    def __init__(self, loop: asyncio.AbstractEventLoop | None, error: Exception | None = None) -> None:
        self.loop, self.error = loop, error
        self.looked_in: list[threading.Thread] = []

    def make_observer(self) -> Observer:
        return Observer("orders", Stub(), Stub(), clock=self._look)

    def _look(self) -> float:
        self.looked_in.append(threading.current_thread())
        if self.error is not None:
            raise self.error
        return 0.0


async def test_a_snapshot_can_be_taken_from_another_thread() -> None:
    """It is made in the thread of the event loop while that runs, and in the caller's without one."""
    queue = StubQueue(asyncio.get_running_loop())
    observer = ThreadSafeObserver(queue)
    async with asyncio.timeout(BOUND):
        assert (await asyncio.to_thread(observer.look)).state == "running"
    assert observer.look().state == "running"
    assert queue.looked_in == [threading.current_thread()] * 2
    queue.loop = None
    await asyncio.to_thread(observer.look)
    assert queue.looked_in[2] is not threading.current_thread()


async def test_an_error_of_a_look_reaches_the_other_thread() -> None:
    """A snapshot that cannot be made fails the caller, not the event loop."""
    observer = ThreadSafeObserver(StubQueue(asyncio.get_running_loop(), ValueError("broken")))
    async with asyncio.timeout(BOUND):
        with pytest.raises(ValueError, match="broken"):
            await asyncio.to_thread(observer.look)


def test_observers_show_their_queue() -> None:
    """Their representation has the queue and its state."""
    queue = StubQueue(None)
    assert repr(queue.make_observer()) == "<Observer of orders: running>"
    assert repr(ThreadSafeObserver(queue)) == "<ThreadSafeObserver of orders>"
