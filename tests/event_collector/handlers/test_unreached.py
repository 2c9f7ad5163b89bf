"""Payloads that reach no collector: results that say why, and a line in the log."""

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector import Collector, CollectorQueue, Delivery, Error, Payload, ResultList, SimpleRouter
from event_collector.handlers.unreached import MAX_WARNINGS, Unreached, reason
from tests.event_collector.modes import Log


async def bill(order: int) -> int:
    return order


ORDERS = Collector("orders", bill, topics=["new", "paid"])
BILLS = Collector("bills", bill, topics=["paid"])
MAILS = Collector("mails", bill)
SHOP = {collector.key: collector for collector in (ORDERS, BILLS, MAILS)}


@pytest.mark.parametrize(
    ("payload", "collectors", "expected"),
    [
        (Payload(1), {}, "the queue has none"),
        (Payload(1, Delivery.KEY, ["oders"]), {}, "the queue has none"),
        (Payload(1, Delivery.KEY, ["oders"]), {"orders": ORDERS}, "none has the key 'oders'; there is 'orders'"),
        (
            Payload(1, Delivery.KEY, ["a", "b", "c"]),
            SHOP,
            "none has the key 'a', 'b' or 'c'; there are 'bills', 'mails' and 'orders'",
        ),
        (Payload(1, Delivery.KEY), SHOP, "the payload has delivery=Delivery.KEY, and names none"),
        (Payload(1, Delivery.TOPIC, topics=["old"]), SHOP, "none is subscribed to 'old'; there are 'new' and 'paid'"),
        (Payload(1, Delivery.TOPIC, topics=["old"]), {"mails": MAILS}, "none is subscribed to 'old'; there are none"),
    ],
)
def test_the_reason_names_what_was_asked_for_and_what_there_is(
    payload: Payload[int], collectors: dict[str, Collector], expected: str
) -> None:
    """A misspelt name can be seen beside the right one."""
    assert reason(payload, collectors) == f"no collector was reached: {expected}"


@settings(max_examples=50)
@given(st.lists(st.text(max_size=3), min_size=1, max_size=4), st.sets(st.text(min_size=1, max_size=3), max_size=4))
def test_every_name_is_in_the_reason(asked: list[str], there: set[str]) -> None:
    """Whatever the keys are, each stands there as Python writes it."""
    text = reason(Payload(1, Delivery.KEY, asked), {key: Collector(key, bill) for key in there})
    assert not there or all(repr(key) in text for key in (*asked, *there))


def test_no_results_are_an_empty_result_list() -> None:
    """Only `first()` is another; copies and pickles keep it."""
    empty = ResultList.none("why")
    for same in (empty, copy.copy(empty), copy.deepcopy(empty), pickle.loads(pickle.dumps(empty))):
        assert same == ResultList() == []
        assert type(same) is ResultList
        assert isinstance(same.first(), Error)
        assert same.first().err == "why"
    same.append(Error("another"))
    assert same.first().err == "another"
    with pytest.raises(RuntimeError, match="why"):
        empty.first().unwrap()


@pytest.mark.parametrize("router", [SimpleRouter, type("Own", (SimpleRouter,), {})])
async def test_an_event_that_reaches_nobody_says_so(router: type[SimpleRouter]) -> None:
    """Its results have the reason, and the log has it once for the same keys; topics are not logged."""
    log = Log()
    async with CollectorQueue([ORDERS, BILLS], router, log=log) as queue:
        publisher = queue.get_publisher()
        payloads = [Payload(1, Delivery.KEY, ["oders"]) for _ in range(3)]
        payloads.append(Payload(1, Delivery.TOPIC, topics=["old"]))
        payloads.append(Payload(1, keys=["odrs", "bills"]))
        payloads.append(Payload(1, keys=["bills", "odrs"]))
        *missed, reached, again = [await event.wait() for event in await publisher.send_many(payloads)]
    assert ["'oders'" in str(results.first().err) for results in missed] == [True, True, True, False]  # type: ignore[union-attr]
    assert [result.key for result in reached + again] == ["bills", "bills"]
    (line,) = log.of("an event reached no collector")
    assert line == {"level": "warning", "reason": missed[0].first().err}  # type: ignore[union-attr]
    (line,) = log.of("an event has unknown keys")
    assert line == {"level": "warning", "reason": "none has the key 'odrs'; there are 'bills' and 'orders'"}


def test_the_log_is_not_flooded_by_ever_new_keys() -> None:
    """What is remembered of keys is bounded, and so is what is logged."""
    log = Log()
    unreached = Unreached(log)
    for number in range(2 * MAX_WARNINGS):
        unreached.results(Payload(1, Delivery.KEY, [str(number)]), SHOP)
    assert len(log.lines) == MAX_WARNINGS


async def test_a_router_that_answers_for_nobody_is_left_alone() -> None:
    """A subclass may have results of its own for payloads that no collector is subscribed to."""

    class Answers(SimpleRouter):
        async def async_collector_process(self, payload: Payload[int], collectors: object) -> ResultList:
            return ResultList([Error("nobody home")])

    results = await Answers(SHOP).handle_event(Payload(1, Delivery.KEY, ["oders"]))
    assert results.first().err == "nobody home"  # type: ignore[union-attr]
