"""The shared page: the ring of results, and who owns a job."""

import os
import random
import threading

import pytest

from event_collector_workers.transport.frames import decode_records, encode
from event_collector_workers.transport.page import RING_SIZE, ParentPage, WorkerPage, create_page_file


@pytest.fixture
def pages():
    fd = create_page_file()
    parent, worker = ParentPage(fd), WorkerPage(fd)
    os.close(fd)
    yield parent, worker
    parent.close()
    worker.close()


def test_records_come_out_as_they_went_in(pages):
    """Records of all sizes cross the end of the ring unharmed, in order, for many times its size."""
    parent, worker = pages
    chance = random.Random(7)
    written, read = [], []
    while len(written) < 3000:
        record = (len(written), 0, 0.5, chance.randbytes(chance.choice((0, 5, 300, 9000))))
        if worker.write(encode(record)):
            written.append(record)
        else:
            assert parent.arrive()
            read += decode_records(*parent.take())
    parent.arrive()
    read += decode_records(*parent.take())
    assert read == written
    assert not parent.arrive()


@pytest.mark.parametrize("first", ["worker", "parent"])
def test_either_the_worker_opens_its_tasks_or_it_is_dismissed(pages, first):
    """Whoever is first prevails: a dismissed worker opens nothing, one that opens cannot be dismissed."""
    parent, worker = pages
    if first == "parent":
        assert parent.dismiss()
        assert not worker.begin_opening()
    else:
        assert worker.begin_opening()
        assert not parent.dismiss()


def test_full_ring_refuses(pages):
    """What does not fit is refused, and fits once the parent has taken what was there."""
    parent, worker = pages
    half = b"x" * (RING_SIZE // 2)
    assert worker.write(half)
    assert worker.write(half)
    assert not worker.write(b"x")
    parent.take()
    assert worker.write(half)


def test_revoked_jobs_do_not_begin(pages):
    """What was taken back in time never starts; what comes after it does."""
    parent, worker = pages
    assert worker.begin(1, 5_000_000_000)
    assert parent.running() == (1, 5.0)
    assert parent.revoke(2, 4) == 1
    assert [worker.begin(number, 0) for number in (2, 3, 4)] == [False, False, True]


def test_revocation_works_past_the_32nd_bit(pages):
    """Sequence numbers may grow without bound."""
    parent, worker = pages
    first = 2**32 - 2
    parent.revoke(first, first + 4)
    assert [worker.begin(number, 0) for number in range(first - 1, first + 5)] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]


def test_job_belongs_to_exactly_one_side(pages):
    """However the two sides race, a job that the parent took back did not begin, and no other is lost."""
    parent, worker = pages
    for round_number in range(300):
        first = 1 + round_number * 10
        began: list[int] = []
        thread = threading.Thread(
            target=lambda: began.extend(n for n in range(first, first + 10) if worker.begin(n, 0))
        )
        thread.start()
        started = max(parent.running()[0], first - 1)
        taken = set()
        if started + 1 < first + 10 and parent.revoke(started + 1, first + 10) <= started:
            taken = set(range(started + 1, first + 10))
        thread.join()
        assert not taken & set(began)
        if not taken:
            continue
        assert taken | set(began) == set(range(first, first + 10))


def test_promise_of_a_visit_silences_and_a_visit_ends_it(pages):
    """Each look changes the number of visits; odd says that another look is certain."""
    parent, worker = pages
    parent.arrive()
    before = worker.visits()
    assert before % 2 == 0
    parent.promise()
    assert worker.visits() == before + 1
    parent.arrive()
    assert worker.visits() == before + 2


def test_a_page_that_was_detached_lets_no_job_begin() -> None:
    """In a process that a worker forked all jobs count as taken back, and the parent's page sees nothing of it."""
    fd = create_page_file()
    parent, worker = ParentPage(fd), WorkerPage(fd)
    assert worker.begin(1, 1)
    worker.detach()
    assert not any(worker.begin(sequence, 2) for sequence in (1, 2, 255, 1 << 20))
    assert worker.write(b"unheard")
    assert parent.running()[0] == 1
    assert not parent.arrive()
    parent.close()
    worker.close()
    os.close(fd)


@pytest.mark.parametrize("start", [10, 2**32 - 1])
def test_a_resumed_job_is_the_current_one_until_another_starts(pages, start):
    """The parent sees it although a later job was started last; none while all that were started are suspended."""
    parent, worker = pages
    assert worker.begin(start, 1_000_000_000)
    assert parent.current() == (start, 1.0)
    worker.resume(0, 1_000_000_000)
    assert parent.current()[0] == 0
    assert worker.begin(start + 2, 2_000_000_000)
    assert parent.current() == (start + 2, 2.0)
    worker.resume(0, 2_000_000_000)
    worker.resume(start, 500_000_000)
    assert parent.current() == (start, 0.5)
    assert parent.running()[0] == start + 2
    worker.resume(0, 500_000_000)
    assert parent.current()[0] == 0
    assert worker.begin(start + 3, 3_000_000_000)
    assert parent.current() == (start + 3, 3.0)


def test_a_closed_job_is_told_by_its_number(pages):
    """The worker stops it before the message comes that says so; others go on."""
    parent, worker = pages
    assert not worker.is_closed(5)
    parent.close_job(5)
    assert worker.is_closed(5)
    assert not worker.is_closed(6)
