"""Adaptive collectors: the control law decides whether their handlers run in this process or in workers.

In this process an `async def` runs in the event loop, and a plain function in a thread. A move does not affect events
that have begun. Queued events go to the place that the collector has when their turn comes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from event_collector.encoding.codec_options import coding_of
from event_collector.handlers.collector import PROCESS, Collector, HandlerTier
from event_collector.handlers.stack_frames import hide_modules
from event_collector.remote.codec import encode_payload, encode_result
from event_collector.remote.fidelity import Fidelity
from event_collector.values.errors import ConfigError, EncodeError
from event_collector.values.payload import Payload
from event_collector_workers.autoscaler import Change, Plan, Tier

ASKED_FOR: Final = "the law has it there"
"""Reason of a move for which the law gives none."""


class AdaptiveTier:
    """Runs adaptive collectors and moves them. Each starts in this process.

    `threads` is None if no collector is a plain function. `redirect` is called after moves, to redirect queued events.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        workers: HandlerTier,
        threads: HandlerTier | None,
        redirect: Callable[[], None],
        log: Any,
    ) -> None:
        self._by_key = {collector.key: collector for collector in collectors}
        self._workers, self._threads = workers, threads
        self._redirect, self._log = redirect, log
        self._travelling: set[str] = set()  # keys of collectors whose values could be encoded
        self._staying: set[str] = set()  # keys of collectors whose values could not
        for collector in collectors:
            collector.move_to(collector.home)

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Run the handler in a worker or a thread and return its outcome."""
        tier = self._workers if collector.place == PROCESS else self._threads
        if tier is None:
            raise ConfigError(f"collector {collector.key!r} has no threads to run in")
        return await tier.run(collector, payload)

    def may_move(self, collector: Collector) -> bool:
        """Return whether the law may move the collector."""
        return collector.key in self._by_key and collector.key not in self._staying

    def examine(self, collector: Collector, payload: Any, outcome: Any) -> None:
        """Try to encode the values of the collector's first event. May be called by any thread.

        A collector whose values cannot be encoded stays in this process, since its events would fail in a worker.
        """
        key = collector.key
        if key in self._travelling or key in self._staying:
            return
        try:
            coding = coding_of(collector.codec)
            encode_payload(payload, collector, fidelity=Fidelity(collector.payload_type, coding))
            encode_result(outcome, collector, fidelity=Fidelity(collector.result_type, coding))
        except EncodeError as exc:
            self._staying.add(key)
            self._log.warning("adaptive collector cannot move", collector=key, reason=str(exc))
        else:
            self._travelling.add(key)

    def follow(self, plan: Plan) -> list[Change]:
        """Move collectors as planned; return the changes with their reasons."""
        reasons = {change.subject: change.reason for change in plan.changes}
        moves = []
        for key, collector in self._by_key.items():
            tier = Tier.COROUTINE if key in self._staying else plan.placement.get(key)
            if tier is not None and tier is not _tier(collector):
                moves.append(self._move(collector, tier, reasons.get(key, ASKED_FOR)))
        if moves:
            self._redirect()
        return moves

    def __repr__(self) -> str:
        places = {key: collector.place for key, collector in self._by_key.items()}
        return f"<AdaptiveTier {places}>"

    def _move(self, collector: Collector, tier: Tier, reason: str) -> Change:
        before, before_tier = collector.place, _tier(collector)
        collector.move_to(PROCESS if tier is Tier.PROCESS else collector.home)
        self._log.info("collector moved", collector=collector.key, before=before, after=collector.place, reason=reason)
        return Change(collector.key, before_tier, tier, reason)


def _tier(collector: Collector) -> Tier:
    return Tier.PROCESS if collector.place == PROCESS else Tier.COROUTINE


hide_modules(__name__)
