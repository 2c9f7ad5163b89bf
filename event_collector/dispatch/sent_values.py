"""The values of events that other processes get, as they were when they were sent; see `SentValue`."""

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.encoding.codec_options import coding_of
from event_collector.handlers.collector import ADAPTIVE, PROCESS
from event_collector.remote.codec import Parts, encode_payload
from event_collector.remote.fidelity import Fidelity
from event_collector.remote.sent_value import CONSTANT, SentValue
from event_collector.values.errors import EncodeError
from event_collector.values.payload import Delivery, Payload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.collector import Collector
    from event_collector.handlers.delivery import DeliveryPlan
    from event_collector_workers.job import Buffer

_ANY = Payload(None)
_BROADCAST = Delivery.BROADCAST


class CopyTier(Protocol):
    """What has memory that the workers of one group map."""

    def copy(self, parts: "Sequence[Buffer]") -> memoryview:
        """Return the bytes of the parts in read-only memory of their own."""


class SentValues:
    """Encodes the values of events that have to wait, and can change meanwhile.

    Attributes:
        is_needed: whether events that the event loop delivers may go to other processes.
    """

    __slots__ = ("_encode", "_encode_broadcast", "_fidelities", "_only", "_plan", "_workers", "is_needed")

    def __init__(self) -> None:
        self.is_needed = False
        self._plan: DeliveryPlan | None = None
        self._workers: Mapping[str, CopyTier] = {}
        self._fidelities: dict[Collector, Fidelity] = {}
        self._only: Collector | None = None  # gets every broadcast, and calls its handler once
        self._encode: Callable[..., Parts] = encode_payload
        self._encode_broadcast: Callable[..., Parts] | None = None  # for this collector

    def encode_with(self, encode: "Callable[..., Parts] | None") -> None:
        """Have values encoded by another function that does the same; None: by `encode_payload()`."""
        self._encode = encode or encode_payload
        self._prepare()

    def follow(self, plan: "DeliveryPlan", *, is_open: bool) -> None:
        """Encode for the collectors of this plan. Until the queue `is_open`, the event loop delivers all events."""
        self._plan = plan
        self._only = self._called_once(_ANY)
        self._prepare()
        self.is_needed = plan.has_executors or (not is_open and plan.has_foreign)

    def copy_to(self, workers: "Mapping[str, CopyTier]") -> None:
        """Copy large buffers to where the workers of their collector map them, by worker group."""
        self._workers, self._fidelities = workers, {}

    def keep(self, event: "CollectorEvent") -> None:
        """Have an event keep what other processes get of its value, if it can change. Never raises."""
        if event.sent is None and self._plan is not None and type(event.payload._value) not in CONSTANT:
            self.encode(event)

    def encode(self, event: "CollectorEvent") -> None:
        """Do what `keep()` does for an event whose value can change.

        A value that cannot be encoded is the error of the event, in the collector that cannot get it.
        """
        payload = event.payload
        encode = self._encode_broadcast
        if encode is None or payload._delivery is not _BROADCAST:
            encode = self._encoder_of(self._called_once(payload))
        if encode is not None:
            try:
                event.sent = encode(payload, number=event.id)  # CollectorEvent.keep_sent()
                return
            except EncodeError:
                pass  # it is kept below, for its collector
        owners = [] if self._plan is None else self._plan.foreign(payload)
        if owners:
            event.keep_sent(SentValue(payload._value, [(owner, self._fidelity_of(owner)) for owner in owners]))

    def _called_once(self, payload: Payload[Any]) -> "Collector | None":
        """Return the only collector of a payload if worker processes call its handler, and once; else None."""
        sole = None if self._plan is None else self._plan.sole_remote(payload)
        return None if sole is None or sole.retry is not None else sole

    def _prepare(self) -> None:
        self._encode_broadcast = self._encoder_of(self._only)

    def _encoder_of(self, only: "Collector | None") -> "Callable[..., Parts] | None":
        """Return what encodes a payload for its only collector; None if it has several."""
        if only is None:
            return None
        return partial(self._encode, owner=only, traced=False, fidelity=self._fidelity_of(only))

    def redirect(self, event: "CollectorEvent") -> str | None:
        """Keep the value of an event that waits when collectors have moved; return its line, see `DeliveryPlan`."""
        self.keep(event)
        return None if self._plan is None else self._plan.line_of(event.payload)

    def _fidelity_of(self, collector: "Collector") -> Fidelity:
        fidelity = self._fidelities.get(collector)
        if fidelity is None:
            tier = self._workers.get(collector.worker_group) if collector.mode in (PROCESS, ADAPTIVE) else None
            copy = None if tier is None else tier.copy
            fidelity = self._fidelities[collector] = Fidelity(collector.payload_type, coding_of(collector.codec), copy)
        return fidelity

    def __repr__(self) -> str:
        return f"<SentValues is_needed={self.is_needed}>"
