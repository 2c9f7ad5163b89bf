"""The ledger of a feed adds up, whatever comes in which order; what it is made of, too."""

from hypothesis import given
from hypothesis import strategies as st

from event_collector.sources.ledger import DuplicateWindow, FeedCounts, HeldMessage, Ledger
from event_collector.sources.pace import LEAST, Pace

from .sample_source import make

FATES = ("acknowledged", "retried", "buried", "released", "unsettled")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(1, 5), st.sampled_from(["A", "B", "1", "2", ""])),
        st.tuples(st.sampled_from(FATES), st.integers(0, 9), st.just("")),
    ),
    max_size=40,
)


@given(steps)
def test_the_counts_add_up(script: list[tuple[str, int, str]]) -> None:
    """fetched = held + all of the others, after any deliveries, duplicates and ends; bytes are of what is held."""
    ledger = Ledger(1000.0, lambda held: None)
    running: list[HeldMessage] = []
    for now, (what, number, id_) in enumerate(script):
        if what == "enter":
            message = make(number, "x" * number, id_=id_, born="new" if now > 20 else "old")
            fresh, duplicates = ledger.enter([message], float(now))
            ledger.release(duplicates, "duplicates")
            running += fresh
        elif running:
            held = running.pop(number % len(running))
            if what in ("acknowledged", "buried"):
                ledger.remember(held.message, float(now), copies=what == "acknowledged")
            ledger.release([held.message], what)
        counts = ledger.counts()
        others = sum(getattr(counts, name) for name in FeedCounts.__struct_fields__) - counts.fetched
        assert counts.fetched == others
        assert {id(held) for held in ledger.held.values()} == set(map(id, running))
        assert ledger.bytes == sum(len(held.message.data) for held in running)


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.sampled_from("ABCDEFGH")), max_size=40))
def test_the_window_is_what_it_should_be(additions: list[tuple[float, str]]) -> None:
    """An id is remembered for so long after it was last added, as long as there is room, and no other is."""
    window, model, now = DuplicateWindow(30.0, 5), dict[str, float](), 0.0
    for wait, id_ in additions:
        now += wait
        window.add(id_, now)
        model.pop(id_, None)
        model[id_] = now
        recent = [name for name, at in model.items() if now < at + 30.0][-5:]
        assert [name for name in "ABCDEFGH" if window.has(name, now)] == sorted(recent)
        assert len(window) <= 5


def test_no_window_remembers_nothing() -> None:
    """With 0 seconds every message is new."""
    window = DuplicateWindow(0.0, 5)
    window.add("A", 1.0)
    assert not window.has("A", 1.0)
    assert len(window) == 0


@given(st.floats(0.5, 1000.0), st.floats(0.001, 0.2))
def test_the_pace_is_the_rate(rate: float, step: float) -> None:
    """Settled evenly, the rate is what it is, and a quarter of a second of work may wait; after a rest, the least."""
    pace, now = Pace(), 0.0
    while now < 10.0:
        now += step
        pace.note(round(rate * now) - round(rate * (now - step)), now)
    assert abs(pace.rate(now) - rate) <= 0.15 * rate + 2.0
    assert pace.ahead(now, 0) == max(LEAST, int(pace.rate(now) / 4))
    assert pace.ahead(now + 60.0, 0) == LEAST
    assert pace.ahead(now + 60.0, 100) == 25
