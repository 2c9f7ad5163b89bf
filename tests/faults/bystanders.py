"""The events around a fault: whatever happens to another one, each of these runs once and has its result."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from event_collector import Collector, CollectorEvent, CollectorQueue, Payload
from tests.event_collector.modes import balanced, running
from tests.faults.handlers import act


class Bystanders:
    """Numbered events that leave a line in a file when they run."""

    def __init__(self, queue: CollectorQueue, ledger: Path) -> None:
        self._publisher = queue.get_publisher()
        self._queue = queue
        self._ledger = ledger
        self._events: list[CollectorEvent] = []
        ledger.touch()

    async def send(self, count: int) -> None:
        """Send some more."""
        for _ in range(count):
            value = ["note", [str(self._ledger), len(self._events)]]
            self._events.append(await self._publisher.send(Payload(value)))

    async def verify(self) -> None:
        """Wait for all; each has its own number as its result, and has run exactly once."""
        balanced(self._queue)
        results = [(await event.wait()).first() for event in self._events]
        lost = {number: result for number, result in enumerate(results) if result.is_error}
        assert not lost
        assert [result.unwrap() for result in results] == list(range(len(results)))
        assert sorted(map(int, self._ledger.read_text().split())) == list(range(len(results)))


@asynccontextmanager
async def surrounded(
    tmp_path: Path, *, before: int = 100, after: int = 100, **options: Any
) -> AsyncIterator[CollectorQueue]:
    """A queue for one deed in the midst of other events, all of which are verified at the end."""
    timeout = options.pop("timeout", None)
    options.setdefault("max_workers", 2)
    options.setdefault("min_workers", options["max_workers"])
    async with running(Collector("c", act, mode="process", timeout=timeout), **options) as queue:
        bystanders = Bystanders(queue, tmp_path / "ledger")
        await bystanders.send(before)
        yield queue
        await bystanders.send(after)
        await bystanders.verify()
