"""Calls of one collector: with one value, or with many."""

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.calls.stream import Stream
from event_collector.calls.targets import Target, Targets
from event_collector.values.errors import CallTimeout, ConfigError
from event_collector.values.payload import Delivery, Payload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from event_collector.events.event import CollectorEvent
    from event_collector.values.results import Result


class Sender(Protocol):
    """What accepts events, as calls see it."""

    async def send(self, payload: Any, *, deadline: float | None = None) -> "CollectorEvent":
        """Accept an event, when there is room for it."""

    def send_nowait(self, payload: Any, *, deadline: float | None = None) -> "CollectorEvent":
        """Accept an event at once."""


class Caller:
    """Calls the collectors of one queue.

    Args:
        sender: accepts the events.
        targets: the collectors of the queue.
    """

    __slots__ = ("_sender", "_targets")

    def __init__(self, sender: Sender, targets: Targets) -> None:
        self._sender, self._targets = sender, targets

    async def call(
        self, target: Target, value: Any, *, timeout: float | None, deadline: float | None, priority: float | None
    ) -> Any:
        """Return what the handler returns for a value, or raise what it raises; see `CollectorQueue.call()`."""
        payload = self._address(target, value, priority)
        if timeout is None:
            return await self._answer(payload, deadline)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise ConfigError(f"timeout takes a number of seconds above 0, not {timeout!r}")
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self._answer(payload, deadline)
        except TimeoutError:
            if not limit.expired():
                raise  # the handler's own
        raise CallTimeout(f"collector {payload.keys[0]!r} did not answer within {timeout:g} s: its event was cancelled")

    def submit(
        self, target: Target, value: Any, *, deadline: float | None, priority: float | None
    ) -> "CollectorEvent":
        """Accept a value for one collector, and return its event; see `CollectorQueue.submit()`."""
        return self._sender.send_nowait(self._address(target, value, priority), deadline=deadline)

    def stream(
        self, target: Target, values: Any, *, ahead: int, ordered: bool, priority: float | None
    ) -> "AsyncGenerator[Result[Any], None]":
        """Return the results of values; see `CollectorQueue.stream()`."""
        key = self._targets.key_of(target)

        def send(value: Any) -> "Awaitable[CollectorEvent]":
            return self._sender.send(self._address(key, value, priority))

        return Stream(send, values, ahead=ahead, ordered=ordered).results()

    async def map(
        self, target: Target, values: Any, *, ahead: int, ordered: bool, priority: float | None
    ) -> "AsyncGenerator[Any, None]":
        """Yield the value of each result, or raise the first error."""
        async with aclosing(self.stream(target, values, ahead=ahead, ordered=ordered, priority=priority)) as results:
            async for result in results:
                yield result.unwrap()

    def _address(self, target: Target, value: Any, priority: float | None) -> Payload[Any]:
        if isinstance(value, Payload):
            raise ConfigError("a call takes a value, not a Payload: give its .value, or use send()")
        return Payload(value, Delivery.KEY, (self._targets.key_of(target),), priority=priority)

    async def _answer(self, payload: Payload[Any], deadline: float | None) -> Any:
        event = await self._sender.send(payload, deadline=deadline)
        try:
            return await event.value()
        except asyncio.CancelledError:
            event.cancel()
            raise
