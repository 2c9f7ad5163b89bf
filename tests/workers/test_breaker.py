"""When workers that keep dying may be replaced."""

from event_collector_workers.pool.breaker import Breaker


def crash(breaker: Breaker, times: int, now: float = 0.0) -> list[bool]:
    return [breaker.crashed(now) for _ in range(times)]


def test_first_replacements_are_immediate():
    """A few deaths are everyday life: nobody waits."""
    breaker = Breaker()
    crash(breaker, 4)
    assert breaker.wait(0.0) == 0.0
    assert not breaker.is_open


def test_further_replacements_are_paced():
    """The longer the row of deaths, the longer each replacement waits."""
    breaker = Breaker()
    crash(breaker, 10)
    first = breaker.wait(0.0)
    crash(breaker, 10)
    assert 0.0 < first < breaker.wait(0.0) < 1.0


def test_row_of_deaths_opens_the_breaker_once():
    """The death that completes the row opens it; those of the same crew do not count again."""
    breaker = Breaker()
    opened = crash(breaker, 40)
    assert opened.count(True) == 1
    assert breaker.is_refusing(0.5)
    assert breaker.wait(0.25) == 0.75


def test_a_worker_older_than_the_opening_says_nothing_of_the_test():
    """Its death may be seen when the pause is over; the next death of a younger worker opens the breaker again."""
    breaker = Breaker()
    crash(breaker, 32, now=5.0)
    assert not breaker.crashed(6.5, made_at=4.9)
    assert breaker.wait(6.5) == 0.0
    assert breaker.crashed(6.5, made_at=6.1)


def test_failed_starts_weigh_more_than_crashes():
    """A worker that cannot even start is no job's fault: four in a row are enough."""
    breaker = Breaker()
    assert [breaker.stillborn(0.0) for _ in range(4)] == [False, False, False, True]


def test_finished_job_ends_the_row():
    """One job that finishes closes the breaker and forgets the past."""
    breaker = Breaker()
    crash(breaker, 31)
    assert not breaker.finished()
    crash(breaker, 31)
    assert not breaker.is_open
    crash(breaker, 1)
    assert breaker.is_open
    assert breaker.finished()
    assert not breaker.is_open
    assert breaker.wait(0.0) == 0.0


def test_pauses_grow_up_to_a_bound():
    """Half open, the next death opens it again for longer, but never for more than half a minute."""
    breaker = Breaker()
    now = 0.0
    crash(breaker, 32)
    pauses = []
    for _ in range(8):
        pauses.append(breaker.wait(now))
        now += pauses[-1]
        assert not breaker.is_refusing(now)
        assert breaker.crashed(now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
