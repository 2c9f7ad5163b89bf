"""Events and calls as jobs: replies become results, and errors of the pool become those of the queue."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    EventCancelled,
    HandlerTimeout,
    Payload,
    QueueShutDown,
    Result,
    WorkerCrashed,
)
from event_collector.remote.codec import encode_raised, encode_result
from event_collector.tiers.workers.event_jobs import CallJob, CollectorTask, EventJob
from event_collector_workers import JobCancelled, JobTimeout, PoolClosed
from event_collector_workers.job import TimeLimit
from event_collector_workers.limits import WorkerLimits
from tests.event_collector.sample_attempts import echo

pytestmark = pytest.mark.anyio


class Sink:
    """Takes results."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[CollectorEvent, Result[Any], float]]] = []

    def ended_many(self, ended: list[tuple[CollectorEvent, Result[Any], float]]) -> None:
        self.batches.append(ended)

    def hand_out(self) -> None:
        """Do nothing."""


class Case:
    """A task of the pool, and what has become of its jobs."""

    def __init__(self, limits: WorkerLimits | None = None) -> None:
        self.sink = Sink()
        self.cancelled: list[Any] = []
        self.can_cancel = self.can_recall = True
        self.collector = Collector("k", echo, mode="process", timeout=5.0)
        self.task = CollectorTask(3, self.collector, limits, self.sink, self)

    def recall(self, _job: Any) -> bool:
        return self.can_recall

    def cancel(self, job: Any) -> bool:
        self.cancelled.append(job)
        return self.can_cancel

    def copy(self, parts: Any) -> memoryview:
        return memoryview(b"".join(parts))

    def job(self, number: int = 1) -> EventJob:
        self.collector.usage.began()
        return EventJob(self.task, b"body", None, CollectorEvent(number, Payload(number)))

    def call(self) -> CallJob:
        self.collector.usage.began()
        job = CallJob(self.task.number, b"body")
        job.limit, job.of, job.outcome = self.task.limit, self.task, asyncio.get_running_loop().create_future()
        return job

    def only_result(self) -> Result[Any]:
        ((_, result, _),) = self.sink.batches[-1]
        return result


def reply(value: Any) -> bytes:
    return bytes(encode_result(value, "k")[0])


def test_a_job_is_the_place_of_its_event() -> None:
    """It has number and timeout of its collector's task."""
    case = Case()
    job = case.job()
    assert job.event.place is job
    assert (job.task, job.limit, job.body) == (3, TimeLimit(5.0), b"body")


def test_results_are_passed_on_together() -> None:
    """Each with its event and its seconds, none before `settle()`, and none twice."""
    case = Case()
    jobs = [case.job(number) for number in (1, 2)]
    for job, seconds in zip(jobs, (0.5, 0.25), strict=True):
        job.succeeded(reply(job.event.id * 10), None, seconds)
    assert case.sink.batches == []
    case.task.settle()
    (batch,) = case.sink.batches
    assert [(event, result.unwrap(), seconds) for event, result, seconds in batch] == [
        (jobs[0].event, 10, 0.5), (jobs[1].event, 20, 0.25),
    ]  # fmt: skip
    assert {result.key for _, result, _ in batch} == {"k"}
    usage = case.collector.usage
    assert (usage.running, usage.completions, usage.wall) == (0, 2, 0.75)
    assert case.task.ended == []


@pytest.mark.parametrize("body", [encode_raised(KeyError("missing")), b"\xc1 no reply"])
def test_an_exception_of_the_handler_is_an_error(body: bytes) -> None:
    """So is a reply that cannot be decoded."""
    case = Case()
    case.job().succeeded(body, None, 0.1)
    case.task.settle()
    result = case.only_result()
    assert result.is_error
    assert result.key == "k"
    if b"no reply" not in body:
        assert isinstance(result.err, KeyError)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("of_the_pool", "of_the_queue"),
    [
        (lambda: JobTimeout("late"), HandlerTimeout),
        (lambda: JobCancelled("cancelled"), EventCancelled),
        (lambda: PoolClosed("closed"), QueueShutDown),
    ],
)
def test_errors_of_the_pool_become_those_of_the_queue(
    of_the_pool: Callable[[], Exception], of_the_queue: type[Exception]
) -> None:
    """At once, with the pool's error as the cause."""
    case, error = Case(), of_the_pool()
    case.job().failed(error, 0.5)
    found = case.only_result().err  # type: ignore[union-attr]
    assert type(found) is of_the_queue
    assert found.__cause__ is error
    assert case.collector.usage.running == 0


def test_a_crash_names_collector_and_limits() -> None:
    """The limits may be what ended the worker."""
    case = Case(WorkerLimits(cpu_seconds=7))
    case.job().failed(WorkerCrashed("it died", exitcode=-9), 0.5)
    text = str(case.only_result().err)  # type: ignore[union-attr]
    assert text.startswith("collector 'k': it died; its limits:")
    assert "7" in text


def test_cancellation_is_asked_of_the_pool_once() -> None:
    """A second call does nothing; a job that has just ended says so."""
    case = Case()
    job = case.job()
    assert job.event.cancel()
    assert job.event.cancel()
    assert case.cancelled == [job]
    assert job.event.is_cancelled
    case.can_cancel = False
    assert not case.job(2).event.cancel()


def test_a_job_that_has_begun_is_left_alone_if_wanted() -> None:
    """It is not noted as cancelled, so that it may be tried again; one that waits is withdrawn."""
    case = Case()
    job = case.job()
    case.can_recall = False
    assert not job.event.cancel(running=False)
    assert not job.event.is_cancelled
    case.can_recall = True
    assert job.event.cancel(running=False)
    assert case.cancelled == [job]


async def test_a_call_has_an_outcome() -> None:
    """The value, the exception of the handler, or the queue's error for one of the pool."""
    case = Case()
    calls = [case.call() for _ in range(3)]
    calls[0].succeeded(reply(5), None, 0.1)
    calls[1].succeeded(encode_raised(KeyError("missing")), None, 0.1)
    calls[2].failed(JobTimeout("late"), 0.1)
    assert (await calls[0].outcome).unwrap() == 5
    with pytest.raises(KeyError):
        await calls[1].outcome
    with pytest.raises(HandlerTimeout):
        await calls[2].outcome
    assert (case.collector.usage.running, case.collector.usage.completions) == (0, 3)


@pytest.mark.parametrize("is_error", [False, True])
async def test_nobody_waits_for_a_cancelled_call(is_error: bool) -> None:
    """Its outcome is dropped, and still counted."""
    case = Case()
    call = case.call()
    call.outcome.cancel()
    if is_error:
        call.failed(JobCancelled("cancelled"), 0.1)
    else:
        call.succeeded(reply(5), None, 0.1)
    assert case.collector.usage.running == 0
