"""Seconds per event of what the API itself is made of, without a queue: no faster queue can be behind it."""

from typing import Any

from event_collector import CollectorEvent, Ok, Payload, ResultList

from .patterns import send_and_await
from .queues import no_op

__all__ = ["objects"]


class ObjectsAlone:
    """What passes for a publisher: makes payload, event and result, and calls the handler, at once.

    There is no queue, no order, no count, no time; handlers have no task and no context of their own, and may not wait.
    """

    async def send(self, payload: Payload[Any]) -> CollectorEvent:
        """Return the event, done."""
        event = CollectorEvent(1, payload)
        results = ResultList.__new__(ResultList)
        results.append(_outcome(payload))
        event._results = results
        return event


def _outcome(payload: Payload[Any]) -> Ok[Any]:
    try:
        no_op(payload, None).send(None)
    except StopIteration as end:
        outcome: Ok[Any] = end.value
        return outcome
    raise TypeError("the handler waits for something")


async def objects(name: str, events: int) -> dict[str, float]:
    """Measure one pattern of sending with nothing but the objects."""
    publisher: Any = ObjectsAlone()
    await send_and_await(name, publisher, max(1, events // 100))
    return await send_and_await(name, publisher, events)
