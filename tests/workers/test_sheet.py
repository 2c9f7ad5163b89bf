"""The sheet of the shared page: outcomes of items, readable however the worker ends."""

import os
from collections.abc import Iterator

import pytest

from event_collector_workers.child.items import ItemRun
from event_collector_workers.transport.frames import Outcome, decode_item, decode_kept, decode_record
from event_collector_workers.transport.page import ParentPage, WorkerPage, create_page_file
from event_collector_workers.transport.sheet import MOST_OUTCOMES, OUTCOMES_SIZE

Pages = tuple[ParentPage, WorkerPage]


@pytest.fixture
def pages() -> Iterator[Pages]:
    fd = create_page_file()
    parent, worker = ParentPage(fd), WorkerPage(fd)
    os.close(fd)
    yield parent, worker
    parent.close()
    worker.close()


class Desk:
    """Keeps the records that a worker leaves."""

    def __init__(self) -> None:
        self.records: list[tuple[Outcome, int, int]] = []
        """Outcome, number of the first item, number of items."""
        self.asides: list[bool] = []

    def leave(self, record: bytes, blob: object, *, aside: bool) -> bool:
        _, outcome, _, body = decode_record(record)
        self.asides.append(aside)
        if outcome == Outcome.ITEM:
            self.records.append((Outcome.ITEM, decode_item(body)[0], 1))
            return True
        kept = decode_kept(body)
        self.records.append((Outcome(outcome), kept.first, kept.length))
        return False

    def announce(self) -> None:
        pass


def test_outcomes_are_on_the_sheet_until_a_record_has_them(pages: Pages) -> None:
    """The parent sees each outcome as soon as its item has ended, with its time."""
    parent, worker = pages
    desk = Desk()
    items = ItemRun(worker, desk, 5, 3)
    assert parent.sheet.look() is None
    assert items.begin()
    assert items.keep(b"a")
    kept = parent.sheet.look()
    assert kept is not None
    assert (kept.first, kept.length, kept.outcomes) == (5, 1, b"a")
    assert 0 <= kept.seconds()[0] < 10
    assert items.keep(b"bc")
    assert parent.running()[0] == 7
    assert not items.keep(b"d")
    items.end()
    assert desk.records == [(Outcome.ENDED, 5, 3)]
    assert parent.sheet.look() is None


def test_items_that_were_taken_back_do_not_begin(pages: Pages) -> None:
    parent, worker = pages
    desk = Desk()
    items = ItemRun(worker, desk, 1, 10)
    assert items.begin()
    assert parent.revoke(3, 11) == 1
    assert items.keep(b"a")
    assert not items.keep(b"b")
    items.end()
    assert desk.records == [(Outcome.ENDED, 1, 2)]


def test_a_full_sheet_makes_a_record(pages: Pages) -> None:
    """So does an outcome that is larger than a sheet, and one that is answered by itself: in the order of the items."""
    _, worker = pages
    desk = Desk()
    items = ItemRun(worker, desk, 1, 6)
    assert items.begin()
    for outcome in (bytes(OUTCOMES_SIZE), b"a", bytes(OUTCOMES_SIZE + 1), b"b"):
        assert items.keep(outcome)
    assert items.answer(b"failed", None)
    assert not items.keep(b"c")
    items.end()
    assert [record for record in desk.records if record[2]] == [
        (Outcome.ITEMS, 1, 1), (Outcome.ITEMS, 2, 1), (Outcome.ITEMS, 3, 1), (Outcome.ITEMS, 4, 1),
        (Outcome.ITEM, 5, 1), (Outcome.ENDED, 6, 1),
    ]  # fmt: skip
    assert desk.asides[-1], "a record behind one that went through the socket must not overtake it in the ring"


def test_a_sheet_holds_so_many_outcomes_and_no_more(pages: Pages) -> None:
    _, worker = pages
    worker.sheet.begin(1)
    assert all(worker.sheet.add(b"", 0.0) for _ in range(MOST_OUTCOMES))
    assert not worker.sheet.add(b"", 0.0)


def test_a_fork_writes_on_a_sheet_of_its_own(pages: Pages) -> None:
    """A process that a handler forks must not answer for the worker."""
    parent, worker = pages
    items = ItemRun(worker, Desk(), 1, 3)
    assert items.begin()
    worker.detach()
    assert not items.keep(b"from the fork")
    assert parent.sheet.look() is None
