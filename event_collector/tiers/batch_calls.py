"""Calls of a batch handler: what a batch has of each event, and how the handler gets it, in each mode."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from event_collector.handlers.collector import Collector
from event_collector.handlers.running_event import running_id
from event_collector.handlers.value_handler import results_of
from event_collector.remote.codec import ReplyDecoder, encode_bodies
from event_collector.remote.fidelity import Fidelity
from event_collector.remote.sent_value import encode_sent
from event_collector.values.clock import clock
from event_collector.values.payload import Payload


class Answers(NamedTuple):
    """The outcome of a call: an answer for each event, in order, and the seconds in the handler."""

    answers: Sequence[Any]
    seconds: float


class BatchCalls(Protocol):
    """Calls the handler of one collector."""

    def item(self, payload: Payload[Any]) -> Any:
        """Return what a batch has of an event. Raises EncodeError."""

    async def call(self, items: Sequence[Any]) -> Answers:
        """Call the handler, or raise what the call as a whole has failed with. Cancellation ends the call."""

    def outcome(self, answer: Any) -> Any:
        """Return the outcome of one event, or raise its exception."""


class DirectCalls:
    """Calls in this process: on the event loop, or in a thread.

    Args:
        collector: has a batch handler.
        run: calls the collector's handler with a list of payloads, within the timeout.
    """

    def __init__(self, collector: Collector, run: Callable[[Collector, list[Payload[Any]]], Awaitable[Any]]) -> None:
        self._collector, self._run = collector, run

    def item(self, payload: Payload[Any]) -> Payload[Any]:
        """Return the payload."""
        return payload

    async def call(self, items: Sequence[Payload[Any]]) -> Answers:
        """Call the handler; see `BatchCalls`."""
        begun = clock.now()
        outcome = await self._run(self._collector, list(items))
        return Answers(results_of(outcome, len(items), self._collector.key), clock.now() - begun)

    def outcome(self, answer: Any) -> Any:
        """Return the result."""
        return answer


async def call_on_loop(collector: Collector, payloads: list[Payload[Any]]) -> Any:
    """Call a batch handler on the event loop."""
    return await collector.call_handler(payloads)


class EncodedCalls:
    """Calls in another process, which get and return bytes.

    Args:
        collector: has a batch handler.
        exchange: takes the collector and an encoded batch, returns the reply and the seconds in the handler.
    """

    def __init__(
        self, collector: Collector, exchange: Callable[[Collector, bytes], Awaitable[tuple[bytes, float]]]
    ) -> None:
        self._collector, self._exchange = collector, exchange
        self._fidelity = Fidelity(collector.payload_type)
        self._decode_call = ReplyDecoder(list[bytes], collector.key)
        self._decode = ReplyDecoder(collector.result_type, collector.key)

    def item(self, payload: Payload[Any]) -> bytes:
        """Return the encoded payload. Raises EncodeError."""
        body, _ = encode_sent(
            payload, self._collector, running_id(), inline=True, traced=False, fidelity=self._fidelity
        )
        return bytes(body)

    async def call(self, items: Sequence[bytes]) -> Answers:
        """Call the handler; see `BatchCalls`."""
        reply, seconds = await self._exchange(self._collector, encode_bodies(list(items)))
        answers = self._decode_call(reply, None).unwrap()
        return Answers(results_of(answers, len(items), self._collector.key), seconds)

    def outcome(self, answer: bytes) -> Any:
        """Decode the answer to an event."""
        return self._decode(answer, None)
