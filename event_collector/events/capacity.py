"""Back-pressure: how many events may wait, and the senders that wait for room, first come first served."""

import asyncio
from collections import OrderedDict, deque
from typing import Final

from event_collector.values.refusals import QueueFull, QueueShutDown, fresh_copy

WAIT: Final = "wait"
DROP_OLDEST: Final = "drop_oldest"
DROP_NEWEST: Final = "drop_newest"

NARROWEST: Final = 1
WIDEST: Final = 1024
"""How many senders may go on in one turn of the loop."""


class Capacity:
    """Places in a bounded queue. A place is claimed before an event is accepted, released when it leaves."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._free = places
        # Not a deque, where each sender that is cancelled would be searched for.
        self._senders: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def claim(self) -> None:
        """Take a place at once.

        Raises:
            QueueFull: there is none, or other senders have waited for it longer.

        """
        if self._free <= 0 or self._senders:
            raise QueueFull(f"{self.places} events wait already (max_queue_size={self.places})")
        self._free -= 1

    async def wait(self) -> None:
        """Take a place as soon as there is one, after everybody who came before. Cancelled, none is taken."""
        if self._free > 0 and not self._senders:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._senders[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._senders:
                del self._senders[turn]
            elif not turn.cancelled() and turn.exception() is None:
                self.release()  # the place came at the moment of the cancellation: it is the next one's
            raise

    def take(self) -> None:
        """Take a place even if there is none: for an event that is accepted already, or that another makes room for."""
        self._free -= 1

    @property
    def free(self) -> int:
        """How many places a newcomer may take at once: none while others wait for them."""
        return 0 if self._senders else max(0, self._free)

    @property
    def is_free(self) -> bool:
        """Whether there is a place, and nobody who has waited for it longer."""
        return self._free > 0 and not self._senders

    @property
    def is_overdrawn(self) -> bool:
        """Whether more places are taken than there are."""
        return self._free < 0

    def release(self) -> None:
        """Give a place back; it goes to the sender who has waited longest, unless too many are taken."""
        if self._free < 0:
            self._free += 1
            return
        while self._senders:
            turn, _ = self._senders.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def refuse(self, error: QueueShutDown) -> None:
        """Let everybody who waits for a place fail with `error`."""
        senders, self._senders = self._senders, OrderedDict()
        for turn in senders:
            if not turn.done():
                turn.set_exception(fresh_copy(error))


class Turnstile:
    """Senders that wait for a turn of the loop, so that their events do not keep it from everybody else.

    How many go on in one turn follows from the turn before: half as many if its time was used up, or most would only
    be woken to wait again; else twice as many. One sender that sends without a pause has the turns for itself, and of a
    thousand that each send one event as many come through as there is time for.
    """

    def __init__(self) -> None:
        self._senders: deque[asyncio.Future[None]] = deque()
        self._width = NARROWEST

    async def wait(self) -> None:
        """Wait to be admitted, after everybody who came before."""
        turn = asyncio.get_running_loop().create_future()
        self._senders.append(turn)
        await turn

    def admit(self, *, used_up: bool) -> bool:
        """Let the next senders go on, and return whether there are more; `used_up`: the last turn had no time left."""
        if self._senders:
            self._width = max(NARROWEST, self._width // 2) if used_up else min(2 * self._width, WIDEST)
            self._let_go(self._width)
        return bool(self._senders)

    def admit_all(self) -> None:
        """Let every sender go on."""
        self._let_go(len(self._senders))

    def _let_go(self, count: int) -> None:
        while count and self._senders:
            turn = self._senders.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                count -= 1
