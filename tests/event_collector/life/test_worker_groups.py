"""Worker groups of a queue: processes of their own for some collectors, with an environment and limits of their own."""

import asyncio
import logging
import os
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random, random
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    Delivery,
    Payload,
    WorkerLimits,
    Workers,
    worker_group,
    worker_number,
)
from event_collector.testing import in_process_workers
from event_collector_workers.pool_errors import WorkerPoolError, WorkerStartError
from tests.event_collector.modes import BOUND, Log, until

pytestmark = pytest.mark.anyio

dice = Random()


@pytest.fixture
def anyio_backend() -> str:
    """Run on one event loop only: groups do not depend on it, and processes start slowly."""
    return "asyncio"


def describe(value: int) -> dict[str, Any]:
    logging.getLogger("handler").warning("value %d", value)
    return {
        "pid": os.getpid(),
        "worker": (worker_group(), worker_number()),
        "variable": os.environ.get("GROUP_TEST"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "device": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }


def draw(value: int) -> list[float]:
    return [dice.random(), random()]


def die(value: int) -> None:
    os._exit(3)


def hold(value: str) -> int:
    while not Path(value).exists():
        time.sleep(0.01)
    return os.getpid()


class Unloadable:
    def __call__(self, payload: Payload[int], ctx: Context) -> None:
        raise NotImplementedError

    def __setstate__(self, state: object) -> None:
        raise ValueError("not in a worker")

    def __getstate__(self) -> object:
        return "anything"


@asynccontextmanager
async def running(collectors: list[Collector], **options: Any) -> AsyncIterator[CollectorQueue]:
    options = {"log": Log(), "min_workers": 1, "max_workers": 1, **options}
    async with asyncio.timeout(BOUND), CollectorQueue(collectors, **options) as queue:
        yield queue


async def test_a_group_has_processes_environment_and_limits_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """What a group does not say is as for the queue. Records and snapshots name the group."""
    groups = {"gpu": Workers(max=1, env={"GROUP_TEST": "gpu"}, devices=[7], limits=WorkerLimits(open_files=50))}
    collectors = [Collector("cpu", describe), Collector("gpu", describe, workers="gpu")]
    async with running(collectors, worker_groups=groups, worker_threads=3) as queue:
        cpu, gpu = [await queue.call(key, 1) for key in ("cpu", "gpu")]
        assert cpu["pid"] != gpu["pid"]
        assert (cpu["worker"], gpu["worker"]) == (["default", 0], ["gpu", 0])
        assert (cpu["variable"], gpu["variable"]) == (None, "gpu")
        assert (cpu["threads"], gpu["threads"]) == ("3", "3")
        assert (cpu["device"], gpu["device"]) == (None, "7")
        assert cpu["files"] != gpu["files"] == 50
        snapshot = queue.snapshot()
        assert [(one.name, one.ready, one.problem) for one in snapshot.groups] == [
            ("default", 1, None),
            ("gpu", 1, None),
        ]
        assert {(one.group, one.number, one.pid) for one in snapshot.workers} == {
            ("default", 0, cpu["pid"]),
            ("gpu", 0, gpu["pid"]),
        }
        assert snapshot.workers_ready == queue.get_metrics().workers == 2
        await until(lambda: len(caplog.records) == 2, "both records")
    assert {(record.worker_group, record.process) for record in caplog.records} == {  # type: ignore[attr-defined]
        ("default", cpu["pid"]),
        ("gpu", gpu["pid"]),
    }


async def test_workers_of_two_groups_draw_different_numbers_with_one_seed() -> None:
    """Both groups have a worker 0. The numbers of each are the same in another run."""
    collectors = [("a", None), ("b", "other")]
    runs = []
    for _ in range(2):
        made = [Collector(key, draw, workers=group) for key, group in collectors]
        async with running(made, worker_groups={"other": Workers(max=1)}, seed=5) as queue:
            runs.append([await queue.call(key, 1) for key, _ in collectors])
    assert runs[0] == runs[1]
    assert len({number for numbers in runs[0] for number in numbers}) == 4


async def test_a_group_whose_workers_die_leaves_the_others_alone() -> None:
    """Its breaker opens; the others serve in the same processes. The snapshot says which group has a problem."""
    collectors = [Collector("good", describe), Collector("bad", die, workers="bad")]
    async with running(collectors, worker_groups={"bad": Workers(max=1)}) as queue:
        before = await queue.call("good", 1)
        publisher = queue.get_publisher()
        while queue.snapshot().problem is None:
            event = await publisher.send(Payload(1, Delivery.KEY, ["bad"]))
            assert (await event.wait()).only().is_error
        assert (await queue.call("good", 2))["pid"] == before["pid"]
        snapshot = queue.snapshot()
        assert (snapshot.problem or "").startswith("worker group bad: ")
        assert [(one.name, one.is_healthy) for one in snapshot.groups] == [("default", True), ("bad", False)]
        with pytest.raises(WorkerPoolError, match="collector 'bad'"):
            await queue.call("bad", 1)


async def test_a_busy_group_keeps_no_other_waiting(tmp_path: Path) -> None:
    """Many events wait for its only worker, while another group serves."""
    go = tmp_path / "go"
    collectors = [Collector("slow", hold, workers="slow"), Collector("quick", describe)]
    async with running(collectors, worker_groups={"slow": Workers(max=1)}) as queue:
        slow = [await queue.get_publisher().send(Payload(str(go), Delivery.KEY, ["slow"])) for _ in range(300)]
        quick = await queue.call("quick", 1)
        assert not any(event.is_done() for event in slow)
        go.touch()
        (pid,) = {(await event.wait()).first().unwrap() for event in slow}
        assert pid != quick["pid"]


async def test_an_event_of_two_groups_and_a_stream_reach_their_workers() -> None:
    """The results of each collector come from its own group."""
    collectors = [Collector("cpu", describe), Collector("gpu", describe, workers="gpu")]
    async with running(collectors, worker_groups={"gpu": Workers(max=1)}) as queue:
        both = await (await queue.get_publisher().send(1)).wait()
        assert [result.unwrap()["worker"][0] for result in both] == ["default", "gpu"]
        streamed = [result.unwrap()["worker"][0] async for result in queue.stream("gpu", range(500))]
        assert streamed == ["gpu"] * 500


async def test_a_group_that_cannot_start_ends_the_start_of_the_queue() -> None:
    """The error names the group, and no process of another group stays."""
    collectors = [Collector("good", describe), Collector("bad", Unloadable(), mode="process", workers="bad")]
    queue = CollectorQueue(collectors, log=Log(), max_workers=1, worker_groups={"bad": Workers(max=1)})
    with pytest.raises(WorkerStartError, match="worker group 'bad': "):
        await queue.init_queue()
    assert queue.snapshot().workers == []


async def test_fixed_sizes_are_those_of_each_group() -> None:
    """Without autoscaling each group has as many processes as it may have."""
    collectors = [Collector("cpu", describe), Collector("gpu", describe, workers="gpu")]
    async with running(collectors, autoscale=False, worker_groups={"gpu": Workers(min=1, max=2)}) as queue:
        assert [(one.name, one.ready) for one in queue.snapshot().groups] == [("default", 1), ("gpu", 2)]


async def test_in_process_workers_stand_in_for_each_group() -> None:
    """The handlers learn their group."""
    collectors = [Collector("cpu", describe), Collector("gpu", describe, workers="gpu")]
    with in_process_workers():
        async with running(collectors, worker_groups={"gpu": Workers()}) as queue:
            assert [(await queue.call(key, 1))["worker"] for key in ("cpu", "gpu")] == [["default", 0], ["gpu", 0]]


def plain(value: int) -> None:
    raise NotImplementedError


async def coroutine(value: int) -> None:
    raise NotImplementedError


WRONG: dict[str, tuple[Any, str]] = {
    "unknown group": (
        lambda: queue_of(group="gpu"),
        "collector 'c': there is no worker group 'gpu', this queue has none",
    ),
    "misspelled group": (lambda: queue_of(group="gpv", gpu=Workers()), "'gpv', this queue has 'gpu': give the queue"),
    "unused group": (lambda: queue_of(group=None, gpu=Workers()), "no collector has workers='gpu'"),
    "group of a coroutine": (lambda: Collector("c", coroutine, workers="gpu"), "and this one has mode='coroutine'"),
    "group of a thread": (lambda: Collector("c", plain, mode="thread", workers="gpu"), "this one has mode='thread'"),
    "no name": (lambda: Collector("c", plain, workers=""), "workers takes the name of a worker group"),
    "no Workers": (lambda: queue_of(group="gpu", gpu=1), "takes a Workers for 'gpu', such as Workers"),
    "no dict": (lambda: CollectorQueue([], worker_groups=["gpu"]), "worker_groups takes a dict such as"),  # type: ignore[arg-type]
    "reserved name": (lambda: queue_of(group=None, default=Workers()), "the group of collectors without workers="),
    "more than the most": (lambda: Workers(min=3, max=2), "Workers: max must be .* not 2"),
    "no process": (lambda: Workers(max=0), "Workers: max must be a whole number, at least 1"),
    "no variables": (lambda: Workers(env={"a": 1}), "Workers: env takes a string for a, not 1"),  # type: ignore[dict-item]
    "no limits": (lambda: Workers(limits={"open_files": 3}), "Workers: limits takes a WorkerLimits"),  # type: ignore[arg-type]
    "fork": (lambda: queue_of(group="gpu", start_method="fork", gpu=Workers(env={"A": "1"})), "another start_method"),
}


def queue_of(*, group: str | None, start_method: str | None = None, **groups: Any) -> CollectorQueue:
    collectors = [Collector("c", plain, workers=group)]
    return CollectorQueue(collectors, start_method=start_method, worker_groups=groups or None)


@pytest.mark.parametrize("what", WRONG)
def test_a_group_that_cannot_be_is_refused_at_once(what: str) -> None:
    """The error says what to do."""
    wrong, message = WRONG[what]
    with pytest.raises(ConfigError, match=message):
        wrong()
