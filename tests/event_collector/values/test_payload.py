"""Payloads and contexts: what is sent, and what handlers keep."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from event_collector import Context, Delivery, Payload

Copier = Callable[[Any], Any]

COPIERS: list[Copier] = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


def test_a_payload_is_broadcast_unless_told_otherwise() -> None:
    """The defaults: everyone, no keys, no topics, no priority."""
    payload = Payload("value")
    assert payload.delivery is Delivery.BROADCAST
    assert list(payload.keys) == []
    assert list(payload.topics) == []
    assert payload.priority is None


def test_a_payload_takes_everything_by_position() -> None:
    """The order is value, delivery, keys, topics, priority."""
    payload = Payload("value", Delivery.KEY, ["a", "b"], ["t"], 3)
    assert (payload.value, payload.delivery, payload.priority) == ("value", Delivery.KEY, 3)
    assert (list(payload.keys), list(payload.topics)) == (["a", "b"], ["t"])


@pytest.mark.parametrize("names", [["a"], ("a",), {"a"}, {"a": 1}.keys()], ids=["list", "tuple", "set", "keys"])
def test_keys_and_topics_may_be_any_collection(names: Any) -> None:
    """Programs name keys and topics with whatever collection they have."""
    payload = Payload(1, Delivery.KEY, keys=names, topics=names)
    assert list(payload.keys) == list(payload.topics) == ["a"]


def test_the_value_of_a_payload_is_the_object_itself_and_read_only() -> None:
    """The value is not copied, and it cannot be replaced."""
    value: dict[str, Any] = {"a": []}
    payload = Payload(value)
    assert payload.value is value
    with pytest.raises(AttributeError):
        payload.value = {}  # type: ignore[misc]
    assert payload.value is value


def test_set_delivery_changes_how_a_payload_travels() -> None:
    """Delivery, keys and topics can be set later."""
    payload = Payload(1)
    payload.set_delivery(Delivery.TOPIC, topics=["t"])
    assert (payload.delivery, list(payload.keys), list(payload.topics)) == (Delivery.TOPIC, [], ["t"])
    payload.set_delivery(Delivery.KEY, ["a"])
    assert (payload.delivery, list(payload.keys)) == (Delivery.KEY, ["a"])


def test_set_delivery_keeps_the_names_it_is_not_given() -> None:
    """Without keys or topics, those the payload has stay."""
    payload = Payload(1, Delivery.KEY, ["a"], ["t"])
    payload.set_delivery(Delivery.TOPIC)
    assert (payload.delivery, list(payload.keys), list(payload.topics)) == (Delivery.TOPIC, ["a"], ["t"])


def test_set_priority_changes_the_priority() -> None:
    """The priority can be set later."""
    payload = Payload(1)
    payload.set_priority(7)
    assert payload.priority == 7


def test_all_but_the_value_of_a_payload_can_be_assigned() -> None:
    """The attributes may be set directly, as the setters do."""
    payload = Payload(1)
    payload.delivery = Delivery.KEY
    payload.keys = ["a"]
    payload.topics = ["t"]
    payload.priority = 3
    assert (payload.delivery, payload.priority) == (Delivery.KEY, 3)
    assert (list(payload.keys), list(payload.topics)) == (["a"], ["t"])


def test_payloads_compare_by_identity_and_hash() -> None:
    """Payloads of equal, even unhashable, values are different things and can be counted in a set."""
    first, second = Payload([1]), Payload([1])
    assert first != second
    assert len({first, second, first}) == 2


@pytest.mark.parametrize("duplicate", COPIERS, ids=["copy", "deepcopy", "pickle"])
def test_a_payload_can_be_copied_and_pickled(duplicate: Copier) -> None:
    """A copy keeps value, delivery, names and priority."""
    payload = duplicate(Payload([1], Delivery.KEY, ["a"], ["t"], 3))
    assert (payload.value, payload.delivery, payload.priority) == ([1], Delivery.KEY, 3)
    assert (list(payload.keys), list(payload.topics)) == (["a"], ["t"])


def test_a_payload_can_be_subclassed() -> None:
    """A program's own payload may carry more than a value."""

    class Traced(Payload[Any]):
        def __init__(self, value: Any, trace: str) -> None:
            super().__init__(value, Delivery.KEY, ["a"])
            self.trace = trace

    payload = Traced(1, "id-1")
    assert isinstance(payload, Payload)
    assert (payload.value, payload.delivery, list(payload.keys), payload.trace) == (1, Delivery.KEY, ["a"], "id-1")


def test_a_context_shows_the_same_values_as_attributes_and_items() -> None:
    """What is set one way is read the other way."""
    ctx = Context({"a": 1})
    ctx.b = 2
    ctx["c"] = 3
    assert (ctx["a"], ctx["b"], ctx["c"]) == (ctx.a, ctx.b, ctx.c) == (1, 2, 3)


def test_a_context_is_a_collection_of_names() -> None:
    """It iterates over names, counts them, and knows which are there."""
    ctx = Context({"a": 1})
    ctx.b = 2
    assert list(ctx) == ["a", "b"]
    assert len(ctx) == 2
    assert "a" in ctx
    assert "z" not in ctx
    assert len(Context()) == 0


def test_a_missing_attribute_is_an_attribute_error() -> None:
    """hasattr() and getattr() with a default work, and the message names what is missing."""
    ctx = Context()
    assert not hasattr(ctx, "absent")
    assert getattr(ctx, "absent", 5) == 5
    with pytest.raises(AttributeError, match="absent"):
        _ = ctx.absent


def test_a_missing_item_is_a_key_error() -> None:
    """As with a dict."""
    with pytest.raises(KeyError, match="absent"):
        _ = Context()["absent"]


def test_names_can_be_taken_out_of_a_context() -> None:
    """Deleting an attribute or an item removes the name; a missing item is a KeyError."""
    ctx = Context({"a": 1, "b": 2})
    del ctx.a
    del ctx["b"]
    assert list(ctx) == []
    with pytest.raises(KeyError):
        del ctx["b"]


def test_a_context_writes_through_to_the_dict_it_was_made_from() -> None:
    """A program that keeps the dict sees what its handlers put there."""
    data: dict[str, Any] = {}
    ctx = Context(data)
    ctx.a = 1
    assert data == {"a": 1}


def test_a_context_can_be_subclassed() -> None:
    """A program's own context may have methods beside its values."""

    class Shop(Context):
        def total(self) -> int:
            return int(self.price) * int(self["amount"])

    shop = Shop({"price": 3})
    shop.amount = 2
    assert shop.total() == 6
    assert list(shop) == ["price", "amount"]


def test_contexts_are_independent_of_one_another() -> None:
    """A new Context is empty, whatever others hold."""
    Context().a = 1
    assert list(Context()) == []
