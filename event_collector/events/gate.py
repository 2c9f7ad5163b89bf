"""The gate of a queue: admits senders, makes them wait, or refuses them."""

import asyncio
from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Any, Final

from event_collector.events.nesting import NestedWaits, note_wait
from event_collector.events.turnstile import Turnstile
from event_collector.values.payload import Payload, holds_payloads
from event_collector.values.refusals import QueueFull, QueueShutDown, fresh_copy, several_payloads

if TYPE_CHECKING:
    from event_collector.events.start_reminder import StartReminder

WAIT: Final = "wait"
DROP_OLDEST: Final = "drop_oldest"
DROP_NEWEST: Final = "drop_newest"


class Gate:
    """Back-pressure and refusal.

    In a bounded queue an event claims a place before it is accepted, and releases it when it leaves. Senders wait for
    places first come, first served. The queue is unbounded if `places` is 0.

    Attributes:
        crowded: whether a sender must call `wait()`. Always true in a bounded queue and in one with a recorder; in
            others while the time slice of a turn is used up.
        refusal: why the queue accepts no events; None while it does.
        is_bounded: whether each event needs a place.
        waits: what the handlers of the queue wait for.
        drops: whether a full queue drops an event instead of making senders wait.
    """

    __slots__ = (
        "_always_crowded",
        "_free",
        "_reminder",
        "_senders",
        "_turnstile",
        "crowded",
        "drops",
        "is_bounded",
        "overflow",
        "places",
        "refusal",
        "waits",
    )

    def __init__(self, places: int, overflow: str) -> None:
        self.places, self.overflow = places, overflow
        self.waits = NestedWaits()
        self._free = places  # negative while more places are taken than there are
        # Not a deque, which would be searched for each sender that is cancelled.
        self._senders: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._turnstile = Turnstile()
        self.refusal: QueueShutDown | None = None
        self._reminder: StartReminder | None = None
        self.is_bounded = places > 0
        self.drops = self.is_bounded and overflow != WAIT
        self.crowded = self._always_crowded = self.is_bounded

    def remind(self, reminder: "StartReminder | None") -> None:
        """Set the reminder for senders that wait; None once the queue has started."""
        self._reminder = reminder

    # Refusal

    def check(self) -> None:
        """Raise QueueShutDown if no events are accepted."""
        if self.refusal is not None:
            raise fresh_copy(self.refusal)

    def checked(self, sent: Any) -> Payload[Any]:
        """Return what was sent as a Payload. Raise if no event is accepted; its place is given back then."""
        if self.refusal is not None or holds_payloads(sent):
            self.release()
            self.check()
            raise several_payloads()
        return sent if isinstance(sent, Payload) else Payload(sent)

    def open(self) -> None:
        """Accept events."""
        self.refusal = None

    def refuse(self, error: QueueShutDown) -> None:
        """Accept no more events. Senders that wait for a place fail with `error`."""
        self.refusal = error
        self._turnstile.admit_all()
        senders, self._senders = self._senders, OrderedDict()
        for turn in senders:
            if not turn.done():
                turn.set_exception(fresh_copy(error))

    # Places

    def claim(self) -> None:
        """Take a place at once. Raises QueueFull if there is none, or if other senders wait for it."""
        if not self.is_bounded:
            return
        if self.must_wait:
            raise QueueFull(f"{self.places} events wait already (max_queue_size={self.places})")
        self._free -= 1

    async def wait(self) -> None:
        """Wait for a place and take it, or wait for a turn of the loop. Cancelled, no place is taken."""
        self.check()
        must_wait = self.must_wait
        if must_wait and self._reminder is not None:
            self._reminder.remind()
        if not self.is_bounded:
            await self._turnstile.wait()
        elif must_wait:
            await self._wait_for_place()
        else:
            self._free -= 1

    def take(self, count: int = 1) -> None:
        """Take places even if there are none: for events that were accepted before."""
        if self.is_bounded:
            self._free -= count

    def release(self, count: int = 1) -> None:
        """Return places. Each goes to the sender that has waited longest, unless too many are taken."""
        if self.is_bounded:
            for _ in range(count):
                if self._free < 0 or not self._wake_next():
                    self._free += 1

    def admit(self, turn: "asyncio.Future[None]") -> None:
        """Give a sender that waits a place, even if there is none."""
        del self._senders[turn]
        self._free -= 1
        turn.set_result(None)

    @property
    def must_wait(self) -> bool:
        """Whether a sender would have to wait for a place now."""
        return self.is_bounded and not self.drops and (self._free <= 0 or bool(self._senders))

    @property
    def senders(self) -> int:
        """Senders that wait for a place."""
        return len(self._senders)

    @property
    def is_overdrawn(self) -> bool:
        """Whether more events wait than `places` allows."""
        return self._free < 0

    def room(self) -> float:
        """Return how many events would be accepted without waiting; infinite without a bound. Raises QueueShutDown."""
        self.check()
        if not self.is_bounded or self.drops:
            return inf
        return 0 if self.must_wait else self._free

    async def _wait_for_place(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._senders[turn] = None
        note_wait(turn, None, self.waits)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._senders:
                del self._senders[turn]
            elif not turn.cancelled() and turn.exception() is None:
                self.release()  # the place came at the moment of the cancellation: pass it on
            raise

    def _wake_next(self) -> bool:
        while self._senders:
            turn, _ = self._senders.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return True
        return False

    # Turns of the loop

    def crowd(self) -> None:
        """Make senders wait for the next turn of the loop."""
        self.crowded = True

    def always_crowd(self) -> None:
        """Make every sender call `wait()`, from now on."""
        self.crowded = self._always_crowded = True

    def turn(self) -> bool:
        """Begin a turn of the loop: admit senders. Return whether more of them wait."""
        used_up, self.crowded = self.crowded, self._always_crowded
        return self._turnstile.admit(used_up=used_up)

    def __repr__(self) -> str:
        state = "refusing" if self.refusal is not None else "crowded" if self.crowded else "open"
        free = (0 if self._senders else max(0, self._free)) if self.is_bounded else "any number"
        return f"<Gate {state}, room for {free}>"
