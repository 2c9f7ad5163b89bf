"""Pull requests to a JetStream consumer, for as many messages as were asked for and no more.

A request asks for a number of messages and expires; the server answers with one message at a time, as they arrive.
`fetch()` of nats-py waits until a request is fulfilled or expires, which would delay the first of few messages. Here
each message is returned at once, and the request stays open. The protocol is that of the NATS architecture decision
record 37 (JetStream Simplification).
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

EXPIRES: Final = 10.0
"""Seconds until a request expires; an idle program sends one request in this time."""
OVERDUE: Final = 2.0
"""Seconds after its expiry until a request without an answer is given up: its server may be gone."""
FLUSH_TIMEOUT: Final = 2
"""Seconds for the server to answer at the end. Messages that are not handed back come again after their ack_wait."""

NO_MESSAGES, TIMED_OUT, CONFLICT, HEARTBEAT = "404", "408", "409", "100"
OVER: Final = ("Message Size Exceeds MaxBytes", "Batch Completed", "Exceeded MaxWaiting")
"""Descriptions of a status 409 that only ends a request, or refuses it while there are enough of others."""


class Puller:
    """Requests messages of a consumer, and keeps those that have arrived until they are taken."""

    def __init__(self, client: "Client", stream: str, consumer: str) -> None:
        self.client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._arrived: deque[Msg] = deque()
        self._asked = 0  # messages that were requested and have not arrived
        self._until = 0.0  # when all requests have expired
        self._news = asyncio.Event()
        self._subscription: Subscription | None = None
        self._interrupted = False
        self._max_batch, self._expires = 0, EXPIRES
        self.problem: str | None = None
        """The answer of a server that has no such consumer, or none for now, until `adapt()` is called."""

    async def open(self) -> None:
        """Subscribe to the answers."""
        self._subscription = await self.client.subscribe(self._inbox, cb=self._on_message)

    def adapt(self, max_batch: int, max_expires: float, *, is_new: bool) -> None:
        """Ask for no more than the consumer grants, 0 meaning no limit; drop messages of a stream before a new one."""
        self._max_batch, self._expires = max_batch, min(EXPIRES, max_expires or EXPIRES)
        self.problem = None
        if is_new:
            self._arrived.clear()

    async def take(self, most: int, patience: float) -> "list[Msg]":
        """Return up to `most` messages as soon as there is one; an empty list after `patience` seconds."""
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
        """Request more messages if less than half of `most` are outstanding."""
        now = monotonic()
        if now > self._until:
            self._asked = 0
        if 2 * self._asked >= most:
            return
        missing = most - self._asked
        batch = min(missing, self._max_batch or missing)
        request = {"batch": batch, "expires": int(self._expires * 1e9)}
        self._asked += batch
        self._until = now + self._expires + OVERDUE
        await self.client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)

    def interrupt(self) -> None:
        """Make `take()` return at once, now and later."""
        self._interrupted = True
        self._news.set()

    def forget_requests(self) -> None:
        """Note that the connection was lost, and all requests with it."""
        self._asked = 0
        self._news.set()

    async def _on_message(self, msg: "Msg") -> None:
        # Messages have a subject for their acknowledgement. Any header may be one of the publisher's, "Status" too.
        status = None if msg.reply else (msg.headers or {}).get("Status")
        if msg.reply:
            self._asked = max(0, self._asked - 1)
            self._arrived.append(msg)
        elif status not in (None, HEARTBEAT):
            self._on_status(status, msg.headers or {})
        self._news.set()

    def _on_status(self, status: str, headers: dict[str, str]) -> None:
        left = headers.get("Nats-Pending-Messages", "")
        self._asked = max(0, self._asked - int(left)) if left.isdecimal() else 0
        description = headers.get("Description", "")
        if status in (NO_MESSAGES, TIMED_OUT) or (status == CONFLICT and description in OVER):
            return
        self.problem = f"{status} {description}".strip() if description else f"{status}, nobody answers for JetStream"

    async def close(self) -> "list[Msg]":
        """Unsubscribe, which cancels all requests, and return the messages that have arrived and were not taken."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.unsubscribe()
            await self.client.flush(timeout=FLUSH_TIMEOUT)  # messages that were on the way have arrived
        left, self._arrived = list(self._arrived), deque()
        return left
