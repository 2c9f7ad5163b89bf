"""The turnstile: senders that wait for a turn of the event loop."""

import asyncio
from collections import deque
from typing import Final

NARROWEST: Final = 1
WIDEST: Final = 1024
"""Maximum number of senders admitted in one turn of the loop."""


class Turnstile:
    """Limits how many senders proceed in one turn of the loop, so that their events leave time for other tasks.

    The number follows from the turn before. It is halved if that turn used up its time, since most senders would only
    be woken to wait again. Otherwise it is doubled. A single sender that sends without a pause therefore has every
    turn for itself, and of a thousand senders as many proceed as there is time for.
    """

    def __init__(self) -> None:
        self._senders: deque[asyncio.Future[None]] = deque()
        self._width = NARROWEST

    async def wait(self) -> None:
        """Wait to be admitted, in order of arrival."""
        turn = asyncio.get_running_loop().create_future()
        self._senders.append(turn)
        await turn

    def admit(self, *, used_up: bool) -> bool:
        """Admit the next senders; return whether more wait. `used_up`: the last turn had no time left."""
        if self._senders:
            self._width = max(NARROWEST, self._width // 2) if used_up else min(2 * self._width, WIDEST)
            self._release(self._width)
        return bool(self._senders)

    def admit_all(self) -> None:
        """Admit every sender."""
        self._release(len(self._senders))

    def _release(self, count: int) -> None:
        while count and self._senders:
            turn = self._senders.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                count -= 1
