"""Adaptive collectors: handlers that run here, or in worker processes, as the control law decides.

*Here* is the event loop for an `async def`, and a thread for a plain function. Events that have begun end where
they began; those that wait go where the collector is when their turn comes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from event_collector.handlers.collector import PROCESS, Collector, HandlerTier
from event_collector.remote.codec import encode_payload, encode_result
from event_collector.values.errors import ConfigError, EncodeError
from event_collector.values.payload import Payload
from event_collector_workers.autoscaler import Change, Plan, Tier

ASKED_FOR: Final = "the law has it there"


class AdaptiveTier:
    """Runs adaptive collectors where they are, and moves them.

    Args:
        collectors: those of mode "adaptive"; each begins here.
        workers: runs those that are in worker processes.
        threads: runs plain functions that are here; None when there are none.
        redirect: called after moves, so that events that wait are delivered accordingly.
        log: told of each move.

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
        self._redirect = redirect
        self._log = log
        self._travelling: set[str] = set()  # keys of those that have had an event whose values could travel
        self._staying: set[str] = set()
        for collector in collectors:
            collector.move_to(collector.home)

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Run the handler in a worker or a thread, and return its outcome."""
        tier = self._workers if collector.place == PROCESS else self._threads
        if tier is None:
            raise ConfigError(f"collector {collector.key!r} has no threads to run in")
        return await tier.run(collector, payload)

    def may_move(self, collector: Collector) -> bool:
        """Return whether the law may decide where it runs."""
        return collector.key in self._by_key and collector.key not in self._staying

    def examine(self, collector: Collector, payload: Any, outcome: Any) -> None:
        """Try whether what a handler takes and returns could travel, with the first events that it has here.

        A collector for which it could not stays here, since each of its events would fail in a worker. May be
        called by any thread.
        """
        key = collector.key
        if key in self._travelling or key in self._staying:
            return
        try:
            encode_payload(payload, key)
            encode_result(outcome, key)
        except EncodeError as exc:
            self._staying.add(key)
            self._log.warning("adaptive collector cannot move", collector=key, reason=str(exc))
        else:
            self._travelling.add(key)

    def follow(self, plan: Plan) -> list[Change]:
        """Move what the plan has elsewhere; return the changes, each with its reason."""
        reasons = {change.subject: change.reason for change in plan.changes}
        moves = []
        for key, collector in self._by_key.items():
            tier = Tier.COROUTINE if key in self._staying else plan.placement.get(key)
            if tier is not None and tier is not _tier(collector):
                moves.append(self._move(collector, tier, reasons.get(key, ASKED_FOR)))
        if moves:
            self._redirect()
        return moves

    def _move(self, collector: Collector, tier: Tier, reason: str) -> Change:
        before, before_tier = collector.place, _tier(collector)
        collector.move_to(PROCESS if tier is Tier.PROCESS else collector.home)
        self._log.info("collector moved", collector=collector.key, before=before, after=collector.place, reason=reason)
        return Change(collector.key, before_tier, tier, reason)


def _tier(collector: Collector) -> Tier:
    return Tier.PROCESS if collector.place == PROCESS else Tier.COROUTINE
