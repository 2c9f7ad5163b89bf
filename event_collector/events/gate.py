"""The gate of a queue: may a sender come in, must it wait, is it refused."""

from math import inf
from typing import TYPE_CHECKING

from event_collector.events.capacity import WAIT, Capacity, Turnstile
from event_collector.values.refusals import QueueShutDown, fresh_copy

if TYPE_CHECKING:
    from event_collector.events.start_reminder import StartReminder


class Gate:
    """Back-pressure and refusal.

    Args:
        max_queue_size: how many events may wait; 0 for no bound.
        overflow: what happens when as many wait: "wait", "drop_oldest" or "drop_newest".

    Attributes:
        crowded: whether a sender must call `wait()`. A bounded queue always has it do so, as does one that keeps a
            record; others when the time slice of a turn is used up.
        refusal: why no more events are accepted; None while they are.
        is_bounded: whether each event needs a place.
        drops: whether a full queue drops an event instead of having senders wait.
        overflow: as given.

    """

    __slots__ = (
        "_always_crowded",
        "_capacity",
        "_reminder",
        "_turnstile",
        "crowded",
        "drops",
        "is_bounded",
        "overflow",
        "refusal",
    )

    def __init__(self, max_queue_size: int, overflow: str) -> None:
        self._capacity = Capacity(max_queue_size)
        self._turnstile = Turnstile()
        self.refusal: QueueShutDown | None = None
        self._reminder: StartReminder | None = None
        self.is_bounded = max_queue_size > 0
        self.overflow = overflow
        self.drops = self.is_bounded and overflow != WAIT
        self.crowded = self._always_crowded = self.is_bounded

    def remind(self, reminder: "StartReminder | None") -> None:
        """Set who reminds senders that wait; None once the queue has started."""
        self._reminder = reminder

    # Refusal

    def check(self) -> None:
        """Raise QueueShutDown if no more events are accepted."""
        if self.refusal is not None:
            raise fresh_copy(self.refusal)

    def open(self) -> None:
        """Accept events."""
        self.refusal = None

    def refuse(self, error: QueueShutDown) -> None:
        """Accept no more events. Senders who wait for a place fail with `error`."""
        self.refusal = error
        self._turnstile.admit_all()
        self._capacity.refuse(error)

    # Places

    def claim(self) -> None:
        """Take a place at once; QueueFull when there is none."""
        if not self.is_bounded:
            return
        if self.drops:
            self._capacity.take()
        else:
            self._capacity.claim()

    async def wait(self) -> None:
        """Take a place as soon as there is one, or wait for a turn of the loop. Cancelled, no place is taken."""
        self.check()
        if self._reminder is not None and self.must_wait:
            self._reminder.remind()
        if not self.is_bounded:
            await self._turnstile.wait()
        elif self.drops:
            self._capacity.take()
        else:
            await self._capacity.wait()

    def take(self) -> None:
        """Take a place even if there is none: for an event that is accepted already."""
        if self.is_bounded:
            self._capacity.take()

    def release(self, count: int = 1) -> None:
        """Give places back."""
        if self.is_bounded:
            for _ in range(count):
                self._capacity.release()

    @property
    def must_wait(self) -> bool:
        """Whether a sender would have to wait for a place now."""
        return self.is_bounded and not self.drops and not self._capacity.is_free

    @property
    def is_overdrawn(self) -> bool:
        """Whether more events wait than may."""
        return self.is_bounded and self._capacity.is_overdrawn

    @property
    def places(self) -> int:
        """How many events may wait; 0 for no bound."""
        return self._capacity.places

    def room(self) -> float:
        """Return how many events would be accepted without waiting; infinite without a bound.

        Raises:
            QueueShutDown: no more events are accepted.

        """
        self.check()
        return self._capacity.free if self.is_bounded and not self.drops else inf

    # Turns of the loop

    def crowd(self) -> None:
        """Have senders wait for the next turn of the loop."""
        self.crowded = True

    def always_crowd(self) -> None:
        """Have every sender call `wait()`, from now on."""
        self.crowded = self._always_crowded = True

    def turn(self) -> bool:
        """Begin a new turn of the loop: let senders go on. Return whether more of them wait."""
        used_up, self.crowded = self.crowded, self._always_crowded
        return self._turnstile.admit(used_up=used_up)

    def __repr__(self) -> str:
        state = "refusing" if self.refusal is not None else "crowded" if self.crowded else "open"
        return f"<Gate {state}, room for {'any number' if not self.is_bounded else self._capacity.free}>"
