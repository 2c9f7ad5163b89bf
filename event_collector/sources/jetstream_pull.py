"""Pull requests: how messages of a JetStream consumer get here, as many as were asked for and no more.

A request is for a number of messages and lasts for a while; the server answers it with a message at a time, as they
come. `fetch()` of nats-py waits until a request is fulfilled or over: with few messages the first of them would wait
for the last. Here a message is handed on at once, and what is left of the request stays. The protocol is that of the
NATS architecture decision record 37 (JetStream Simplification).
"""

import asyncio
import json
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

__all__ = ["Puller"]

EXPIRES: Final = 10.0
"""Seconds that a request lasts: an idle program asks the server no more often."""
OVERDUE: Final = 2.0
"""Seconds after which a request of which nothing is heard any more is given up: its server may be gone."""

NO_MESSAGES, TIMED_OUT, CONFLICT, HEARTBEAT = "404", "408", "409", "100"
OVER: Final = ("Message Size Exceeds MaxBytes", "Batch Completed")
"""What a status 409 says where it only ends a request."""


class Puller:
    """Asks a consumer for messages, and keeps those that have come until they are taken.

    Args:
        client: a connection.
        stream, consumer: whose messages.

    Attributes:
        problem: what the server said when it had no such consumer, or none for now; written by it, cleared by `take()`.

    """

    def __init__(self, client: "Client", stream: str, consumer: str) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._arrived: deque[Msg] = deque()
        self._asked = 0  # messages that are asked for and have not come
        self._until = 0.0  # when all requests are over
        self._news = asyncio.Event()
        self._subscription: Subscription | None = None
        self._interrupted = False
        self.problem: str | None = None

    async def open(self) -> None:
        """Begin to listen."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)

    async def take(self, most: int, patience: float) -> "list[Msg]":
        """Return up to `most` messages, as soon as there are any; none when there are none in so many seconds."""
        if not self._arrived:
            await self._ask(most)
            try:
                async with asyncio.timeout(patience):
                    while not (self._arrived or self.problem or self._interrupted):
                        self._news.clear()
                        await self._news.wait()
            except TimeoutError:
                return []
        return [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]

    async def _ask(self, most: int) -> None:
        """Ask for more where less than half of what is wanted is on its way."""
        now = monotonic()
        if now > self._until:
            self._asked = 0
        if 2 * self._asked >= most:
            return
        request = {"batch": most - self._asked, "expires": int(EXPIRES * 1e9)}
        self._asked = most
        self._until = now + EXPIRES + OVERDUE
        await self._client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)

    def interrupt(self) -> None:
        """Have `take()` wait no longer, now and from now on."""
        self._interrupted = True
        self._news.set()

    def lost(self) -> None:
        """The connection was lost, and all requests with it."""
        self._asked = 0
        self._news.set()

    async def _on_message(self, msg: "Msg") -> None:
        status = (msg.headers or {}).get("Status") if not msg.data else None
        if status is None:
            self._asked = max(0, self._asked - 1)
            self._arrived.append(msg)
        elif status != HEARTBEAT:
            self._on_status(status, msg.headers or {})
        self._news.set()

    def _on_status(self, status: str, headers: dict[str, str]) -> None:
        left = headers.get("Nats-Pending-Messages", "")
        self._asked = max(0, self._asked - int(left)) if left.isdecimal() else 0
        said = headers.get("Description", "")
        if status in (NO_MESSAGES, TIMED_OUT) or (status == CONFLICT and said in OVER):
            return
        self.problem = f"{status} {said}".strip() if said else f"{status}, nobody answers for JetStream"

    async def close(self) -> "list[Msg]":
        """Stop listening, by which the server drops all requests, and return what has come and was not taken."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.unsubscribe()
            await self._client.flush()  # what was on its way is here now
        left = list(self._arrived)
        self._arrived.clear()
        return left
