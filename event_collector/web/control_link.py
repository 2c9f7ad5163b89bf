"""Links to the control sockets of queues: typed requests from a page, and their answers."""

import asyncio
from time import monotonic
from typing import Final

from event_collector.control.control_client import ControlClient
from event_collector.control.control_messages import Answer, ControlState, Request, StateRequest
from event_collector.watching.socket_lines import Unreachable

FRESH: Final = 0.5
"""Seconds for which a state is not asked for again."""


class SocketLink:
    """The way to the control socket of one program. Each request has a connection and a thread of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._state: ControlState | None = None
        self._asked = -FRESH

    def __repr__(self) -> str:
        return f"<SocketLink {self._path}>"

    async def ask(self, request: Request) -> Answer:
        """Return the answer to a request. Raises Unreachable, with a line for the user, if there is none."""
        return await asyncio.to_thread(self._ask, request)

    async def state(self) -> ControlState | None:
        """Return what can be controlled; None if nothing can."""
        if monotonic() - self._asked >= FRESH:
            self._asked = monotonic()
            try:
                answer = await asyncio.wait_for(self.ask(StateRequest()), 2.0)
            except (Unreachable, TimeoutError):
                answer = None
            self._state = answer if isinstance(answer, ControlState) else None
        return self._state

    def _ask(self, request: Request) -> Answer:
        client = ControlClient(self._path)
        try:
            return client.ask(request)
        finally:
            client.close()
