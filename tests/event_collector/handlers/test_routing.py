"""Misdirected events: what is refused, and that results say which collector they are from."""

import asyncio
import time
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Delivery, Error, Ok, Payload, QueueType
from event_collector.exceptions import ConfigError, EventCollectorException

PATIENCE = 5.0  # seconds after which a wait counts as a hang


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


# -- what is refused --


def test_config_errors_are_value_errors() -> None:
    """Code that guards itself with `except ValueError` catches a ConfigError too."""
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, EventCollectorException)


def test_two_collectors_of_one_key_are_refused() -> None:
    """No collector silently takes another one's place: the error names the key."""
    with pytest.raises(ConfigError, match="twin"):
        CollectorQueue([Collector("twin", echo), Collector("other", echo), Collector("twin", echo)])


def test_a_string_is_not_a_list_of_topics() -> None:
    """Topics given to a collector as one string would be taken letter by letter, so they are refused."""
    with pytest.raises(ConfigError, match="topics"):
        Collector("news", echo, topics="sport")


def test_a_string_is_not_a_list_of_destinations() -> None:
    """The keys and topics of a payload cannot be one string, neither at first nor later."""
    with pytest.raises(ConfigError, match="keys"):
        Payload(1, delivery=Delivery.KEY, keys="abc")
    with pytest.raises(ConfigError, match="topics"):
        Payload(1, delivery=Delivery.TOPIC, topics="abc")
    payload = Payload(1, delivery=Delivery.KEY, keys=["abc"])
    with pytest.raises(ConfigError, match="keys"):
        payload.set_delivery(Delivery.KEY, keys="abc")
    with pytest.raises(ConfigError, match="topics"):
        payload.set_delivery(Delivery.TOPIC, topics="abc")
    assert payload.delivery is Delivery.KEY
    assert list(payload.keys) == ["abc"]
    assert list(payload.topics) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keys": ["a"], "topics": ["t"]}, "give delivery=Delivery.KEY or Delivery.TOPIC"),
        ({"keys": [], "topics": []}, "give delivery=Delivery.KEY or Delivery.TOPIC"),
        ({"delivery": Delivery.KEY, "topics": ["t"]}, r"KEY does not use topics=\['t'\]: .* use Delivery.TOPIC"),
        ({"delivery": Delivery.KEY, "keys": [], "topics": ["t"]}, "does not use topics"),
        ({"delivery": Delivery.TOPIC, "keys": ["a"]}, r"TOPIC does not use keys=\['a'\]: .* use Delivery.KEY"),
        ({"delivery": "KEY", "keys": ["a"]}, "delivery takes a Delivery"),
        ({"delivery": None}, "delivery takes a Delivery"),
        ({"keys": 5}, "Payload keys takes a list of strings, not 5"),
        ({"topics": [b"t"]}, "Payload topics takes a list of strings"),
    ],
)
def test_an_address_that_contradicts_itself_is_refused(options: dict[str, Any], words: str) -> None:
    """No name that a payload is given is ignored: the error says which, and what to write."""
    with pytest.raises(ConfigError, match=words):
        Payload(1, **options)


def test_a_contradiction_of_set_delivery_changes_nothing() -> None:
    """Names that the new delivery does not use are refused; those from before may stay."""
    payload = Payload(1, keys=["a"])
    for change in (
        lambda: payload.set_delivery(Delivery.BROADCAST, ["b"]),
        lambda: payload.set_delivery(Delivery.TOPIC, ["b"]),
        lambda: setattr(payload, "delivery", "TOPIC"),
    ):
        with pytest.raises(ConfigError):
            change()
        assert (payload.delivery, payload.keys) == (Delivery.KEY, ["a"])
    payload.set_delivery(Delivery.BROADCAST)
    assert (payload.delivery, payload.keys) == (Delivery.BROADCAST, ["a"])
    payload.set_delivery(Delivery.KEY, topics=["t"])
    assert (payload.delivery, payload.keys, payload.topics) == (Delivery.KEY, ["a"], ["t"])


def test_names_that_are_assigned_address_a_broadcast_payload() -> None:
    """Keys and topics imply a delivery wherever they are given; one that was chosen stays."""
    by_key, by_topic, chosen = Payload(1), Payload(1), Payload(1, Delivery.TOPIC)
    by_key.keys = ["a"]
    by_topic.topics = ["t"]
    chosen.keys = ["a"]
    assert [payload.delivery for payload in (by_key, by_topic, chosen)] == [
        Delivery.KEY, Delivery.TOPIC, Delivery.TOPIC,
    ]  # fmt: skip


@pytest.mark.parametrize("priority", ["high", float("nan"), object(), [1], True])
def test_a_priority_is_a_number_that_can_be_put_in_order(priority: Any) -> None:
    """A priority that cannot be compared is refused where it is given, and the payload keeps the old one."""
    with pytest.raises(ConfigError, match="priority"):
        Payload(1, priority=priority)
    payload = Payload(1, priority=7)
    with pytest.raises(ConfigError, match="priority"):
        payload.set_priority(priority)
    assert payload.priority == 7


async def test_a_bad_priority_does_not_stay_in_the_queue() -> None:
    """A priority that slips past the payload's check fails its own send, and no event before or after it."""
    handled: list[Any] = []

    async def note(payload: Payload[Any], ctx: Context) -> None:
        handled.append(payload.value)

    queue = CollectorQueue([Collector("note", note)], autoscale=False, max_consumers=1, queue_type=QueueType.PRIORITY)
    publisher = queue.get_publisher()
    for value in (3, 1):
        await publisher.send(Payload(value, priority=value))
    payload = Payload(0)
    with pytest.raises(ConfigError):  # noqa: PT012 - assigned or sent, either may raise
        setattr(payload, "priority", "high")
        await publisher.send(payload)
    for value in (4, 2):
        await publisher.send(Payload(value, priority=value))
    async with asyncio.timeout(PATIENCE), queue:
        await publisher.wait()
    assert handled == [1, 2, 3, 4]


# -- order --


async def test_events_of_one_priority_keep_their_order_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties between priorities are broken by the event's id, so a clock that runs back is harmless."""
    handled: list[int] = []

    async def note(payload: Payload[Any], ctx: Context) -> None:
        handled.append(payload.value)

    queue = CollectorQueue([Collector("note", note)], autoscale=False, max_consumers=1, queue_type=QueueType.PRIORITY)
    with monkeypatch.context() as patch:
        for number in range(50):
            for name in ("monotonic_ns", "perf_counter_ns", "time_ns"):
                patch.setattr(time, name, lambda number=number: 10**18 - number // 2)
            await queue.get_publisher().send(Payload(number, priority=5))
    async with asyncio.timeout(PATIENCE), queue:
        await queue.get_publisher().wait()
    assert handled == list(range(50))


# -- whose result --

NAMES = [f"collector-{number:02}" for number in range(20)]


async def collect(payload: Payload[Any], handlers: dict[str, Any]) -> list[Ok[Any] | Error[Any]]:
    """Send one payload to collectors that all listen to the topic "all", and return its results."""
    collectors = [Collector(key, handler, topics=["all", key]) for key, handler in handlers.items()]
    async with asyncio.timeout(PATIENCE), CollectorQueue(collectors) as queue:
        return list(await (await queue.get_publisher().send(payload)).wait())


@pytest.mark.parametrize(
    "payload",
    [
        Payload(None),
        Payload(None, delivery=Delivery.TOPIC, topics=["all"]),
        Payload(None, delivery=Delivery.TOPIC, topics=NAMES[::-1]),
        Payload(None, delivery=Delivery.KEY, keys=NAMES[::-1]),
    ],
    ids=["broadcast", "one topic", "topics", "keys"],
)
async def test_results_stand_in_registration_order_and_name_their_collector(payload: Payload[Any]) -> None:
    """Whoever finishes first, results stand in the order of the collectors, and each names its own."""

    def named(position: int) -> Any:
        async def handler(payload: Payload[Any], ctx: Context) -> str:
            await asyncio.sleep((len(NAMES) - position) * 1e-3)
            if position % 3 == 0:
                raise ValueError(NAMES[position])
            return NAMES[position]

        return handler

    results = await collect(payload, {name: named(position) for position, name in enumerate(NAMES)})
    assert [result.key for result in results] == NAMES
    told = [str(result.err) if isinstance(result, Error) else result.value for result in results]
    assert told == NAMES


async def test_a_result_that_collectors_share_names_each_of_them() -> None:
    """Handlers may all return one and the same Ok, which stays as they made it."""
    shared = Ok("done")

    async def answer(payload: Payload[Any], ctx: Context) -> Ok[str]:
        return shared

    results = await collect(Payload(None), {"a": answer, "b": answer, "c": answer})
    assert [(result.key, result.value) for result in results] == [("a", "done"), ("b", "done"), ("c", "done")]


def test_a_result_of_no_collector_has_no_key() -> None:
    """Results that a program makes itself are not from any collector."""
    assert Ok(1).key is None
    assert Error("no").key is None
