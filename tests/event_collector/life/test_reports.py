"""Reports: a line in the log and a message at each interval, and messages that the end waits for."""

import asyncio
from typing import Any

import pytest

from event_collector.life.reports import Reports
from event_collector.watching.metrics import NOTHING, Metrics
from tests.event_collector.modes import BOUND, Log, until

pytestmark = pytest.mark.anyio


class Case:
    """Reports of a queue, what they have sent, and whether a message may arrive."""

    def __init__(self, interval: float) -> None:
        self.sent: list[Metrics] = []
        self.may_arrive = asyncio.Event()
        self.log = Log()
        self.reports = Reports(interval, lambda: NOTHING, self._send, self.log)

    async def _send(self, metrics: Metrics) -> None:
        await self.may_arrive.wait()
        self.sent.append(metrics)

    def lines(self) -> list[dict[str, Any]]:
        return self.log.of("collector queue metrics")


async def test_each_interval_has_a_line_and_a_message() -> None:
    """Messages do not wait for each other; the line has all figures."""
    case = Case(0.001)
    case.reports.start(asyncio.get_running_loop())
    await until(lambda: len(case.lines()) >= 3, "three lines")
    case.reports.stop()
    lines = len(case.lines())
    case.may_arrive.set()
    await case.reports.finish(BOUND)
    assert len(case.sent) == lines
    line = case.lines()[0]
    assert (line["qsize"], line["changes"], line["level"]) == (0, [], "info")
    assert line["metrics_timestamp"] == NOTHING.timestamp.isoformat()


@pytest.mark.parametrize("interval", [0.0, -1.0])
async def test_no_interval_means_no_reports(interval: float) -> None:
    case = Case(interval)
    case.reports.start(asyncio.get_running_loop())
    assert repr(case.reports) == "<Reports stopped, 0 messages in flight>"
    case.reports.stop()


async def test_the_end_waits_for_messages() -> None:
    """Their tasks are known as such while they are in flight."""
    case = Case(0.0)
    case.reports.send(case.reports._on_report(NOTHING))
    (task,) = [task for task in asyncio.all_tasks() if task in case.reports]
    assert asyncio.current_task() not in case.reports
    finishing = asyncio.create_task(case.reports.finish(BOUND))
    await asyncio.sleep(0)
    assert not finishing.done()
    case.may_arrive.set()
    async with asyncio.timeout(BOUND):
        await finishing
    assert case.sent == [NOTHING]
    assert task not in case.reports


async def test_a_message_that_never_arrives_is_cancelled() -> None:
    """The end goes on."""
    case = Case(0.0)
    case.reports.send(case.reports._on_report(NOTHING))
    async with asyncio.timeout(BOUND):
        await case.reports.finish(0.01)
    assert case.sent == []
    assert repr(case.reports) == "<Reports stopped, 0 messages in flight>"
