"""The programs of docs/scaling.md do with a real server what the page says."""

import asyncio
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import nats
import pytest

from bench.brokers.server import nats_server
from bench.hosts.simulation import Setting, simulate
from event_collector import Collector
from tests.docs.pages import ROOT, section
from tests.sources.servers import running

PAGE = ROOT / "docs/scaling.md"


def test_what_is_published_is_processed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred orders ninety are done; ten fail three times and are dead letters with the headers of the page."""
    with running(nats_server, tmp_path) as server:
        url = f"nats://127.0.0.1:{server.port}"
        page = ModuleType("page_scaling_with_a_server")
        monkeypatch.setitem(sys.modules, page.__name__, page)
        for block in section(PAGE, "Events from a broker"):
            if block.language == "python":
                exec(block.text.replace("nats://127.0.0.1:4222", url), vars(page))
        # A worker process cannot import a page: its handler runs in a thread here.
        page.Collector = partial(Collector, mode="thread")  # type: ignore[attr-defined]
        asyncio.run(page.publish())
        asyncio.run(page.work(until_empty=True))
        letters = asyncio.run(dead_letters(url))
    assert "FeedCounts(fetched=120, held=0, acknowledged=90, retried=20, buried=10" in capsys.readouterr().out
    assert len(letters) == 10
    told = {header for header in letters[0] if header.startswith("Event-Collector-")}
    shown = PAGE.read_text()
    for header in told:
        assert f"`{header}`" in shown or f"`-{header.removeprefix('Event-Collector-')}`" in shown
    assert {letter["Event-Collector-Reason"] for letter in letters} == {"exhausted"}


async def dead_letters(url: str) -> list[dict[str, str]]:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    count = (await jetstream.stream_info("ORDERS_DEAD")).state.messages
    found = [(await jetstream.get_msg("ORDERS_DEAD", number)).headers for number in range(1, count + 1)]
    await client.close()
    return [dict(headers or {}) for headers in found]


def test_the_simulation_knows_its_limits() -> None:
    """Hosts that are enough keep up, with hardly a wait; too few do not; a slow broker bounds any number of them."""
    enough = simulate(Setting(10, 400.0, 0.01, 1, 5.0, constant=True))
    assert enough.finished == len(enough.times) > 1_800
    assert 0.35 < enough.hosts_busy < 0.45
    assert enough.percentile(0.5) < 0.015
    too_few = simulate(Setting(2, 400.0, 0.01, 1, 5.0, constant=True))
    assert too_few.hosts_busy > 0.98
    assert too_few.percentile(0.5) > 0.5
    slow_broker = simulate(Setting(100, 400.0, 0.01, 1, 5.0, deliver=0.005))
    assert slow_broker.broker_busy > 0.98
    assert slow_broker.hosts_busy < 0.1
    assert enough == simulate(Setting(10, 400.0, 0.01, 1, 5.0, constant=True))
