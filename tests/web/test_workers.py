"""Worker processes on the page: where a queue has several worker groups, their names tell them apart."""

from typing import Any

import httpx
import msgspec
import pytest

from event_collector.watching.details import HERE, Details, EventInHandler, RowUse, TaskSpan
from event_collector.watching.problems import find_problems
from event_collector.watching.snapshot import Snapshot, WorkerGroupSnapshot, WorkerSnapshot
from event_collector.web.asgi_app import make_app
from event_collector.web.news import news_of
from event_collector.web.site import Site
from event_collector.web.watched import MOST_NAMES, Watched
from tests.web.sample_data import BEGIN, snapshot


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


def group(name: str) -> WorkerGroupSnapshot:
    return WorkerGroupSnapshot(name=name, ready=1, target=1, busy=0, restarts=0, cpu_seconds=0, memory=0, problem=None)


def worker(name: str, pid: int, number: int = 0) -> WorkerSnapshot:
    return WorkerSnapshot(pid, "ready", 0.5, 1.0, 1 << 20, 0.1, 1, 50, group=name, number=number)


def with_groups(*pids: int, names: tuple[str, ...] = ("default", "gpu")) -> Snapshot:
    """Return a snapshot with one worker in each group."""
    workers = [worker(name, pid) for name, pid in zip(names, pids, strict=True)]
    return msgspec.structs.replace(snapshot(), groups=list(map(group, names)), workers=workers)


def with_rows(*pids: int) -> Details:
    """Return details in which each of these processes, all with the number 0, has been in an event for its share."""
    return Details(
        number=1, time=BEGIN, elapsed=1.0,
        rows=[RowUse(0, pid, place / 10, 1) for place, pid in enumerate(pids, 1)],
        spans=[TaskSpan(0, pid, "a", BEGIN - 0.5, BEGIN - 0.4, "ok", pid, 1, 1) for pid in pids],
        running=[EventInHandler(event=pid, collector="a", place="process", worker=0, pid=pid, age=9.0, waited=0.1,
                                limit=10.0) for pid in pids],
    )  # fmt: skip


def watched(shown: Snapshot, details: Details) -> Watched:
    one = Watched(1, "q.sock")
    one.take(shown)
    one.take_details(details)
    return one


def names_of(news: dict[str, Any]) -> list[str]:
    """Return the names of the rows that are not the event loop's, in order."""
    return [news["names"][place] for place, _, _ in news["rows"] if place != HERE]


def test_workers_of_two_groups_have_rows_of_their_own() -> None:
    """They have one number, and neither one row nor one name; each keeps its share, its spans and its events."""
    news = news_of(watched(with_groups(81, 82), with_rows(81, 82)), 0)
    assert names_of(news) == ["default 0", "gpu 0"]
    assert [(pid, share) for _, pid, share in news["rows"][1:]] == [(81, 0.1), (82, 0.2)]
    places = {pid: place for place, pid, _ in news["rows"][1:]}
    assert len(set(places.values())) == 2
    assert {(row, pid) for row, pid, *_ in news["spans"]} == {(row, pid) for row, pid, *_ in news["running"]}
    assert {pid: row for row, pid, *_ in news["spans"]} == places


def test_a_worker_that_has_ended_keeps_its_name() -> None:
    """Its spans stay in view for a minute. Its successor has its row; names of long ago are forgotten."""
    one = watched(with_groups(81, 82), with_rows(81, 82))
    one.take(with_groups(81, 83))
    assert one.row_of(0, 82) == one.row_of(0, 83)
    assert one.row_of(0, 83).name == "gpu 0"
    for pid in range(100, 100 + MOST_NAMES):
        one.take(with_groups(81, pid))
    assert one.row_of(0, 82).name == "worker 0"
    assert one.row_of(0, 81).name == "default 0"


def test_workers_of_one_group_are_called_workers() -> None:
    """A group that has no other beside it needs no name."""
    news = news_of(watched(with_groups(81, names=("gpu",)), with_rows(81)), 0)
    assert names_of(news) == ["worker 0"]


async def test_every_page_names_the_group() -> None:
    """The table of processes, the events, and the choice of a process for stacks and profiles; so do problems."""
    one = watched(with_groups(81, 82), with_rows(81, 82))
    app = make_app(Site([one], {1: StateLink()}), hosts=None, token=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as browser:
        for page in ("workers", "events", "profiles"):
            text = (await browser.get(f"/1/{page}")).text
            assert ("default 0" in text, "gpu 0" in text, "worker 0" in text) == (True, True, False), page
    found = " ".join(problem.text for problem in find_problems(with_groups(81, 82), with_rows(81, 82)))
    assert "in gpu 0 (pid 82)" in found


class StateLink:
    """A link to a queue that can be controlled."""

    async def ask(self, request: Any) -> Any:
        raise NotImplementedError

    async def state(self) -> Any:
        from event_collector.control.control_messages import ControlState

        return ControlState(queue="q", state="running", is_paused=False, paused_collectors=[], collectors=[],
                            max_workers=4, max_consumers=10, dead_letters=0)  # fmt: skip
