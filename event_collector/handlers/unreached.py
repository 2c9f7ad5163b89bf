"""What becomes of a payload that reaches no collector: results that say why, and one line in the log."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import ResultList

if TYPE_CHECKING:
    from event_collector.handlers.collector import Collector

__all__ = ["Unreached", "reason"]

TOLD: Final = 100
"""Sets of keys that are logged, at most: whoever makes them up would fill the memory."""


class Unreached:
    """Makes the results of payloads that reach no collector.

    Args:
        log: gets a line when keys are at fault, once for the same keys; None for no lines. Topics that nobody is
            subscribed to are no fault.

    """

    def __init__(self, log: Any = None) -> None:
        self._log = log
        self._told: set[tuple[str, ...]] = set()

    def results(self, payload: Payload[Any], collectors: "Mapping[str, Collector]") -> ResultList:
        """Return the results of this payload."""
        why = reason(payload, collectors)
        keys = payload._headers.keys
        if payload.delivery is Delivery.KEY and keys not in self._told and len(self._told) < TOLD:
            self._told.add(keys)
            if self._log is not None:
                self._log.warning("an event reached no collector", reason=why)
        return ResultList.none(why)


def reason(payload: Payload[Any], collectors: "Mapping[str, Collector]") -> str:
    """Return why a payload reaches none of the collectors."""
    if not collectors:
        return "no collector was reached: the queue has none"
    if payload.delivery is Delivery.KEY:
        asked, has, there = payload.keys, "has the key", set(collectors)
    else:
        asked, has, there = payload.topics, "is subscribed to", _topics(collectors.values())
    if not asked:
        return f"no collector was reached: the payload has delivery={payload.delivery}, and names none"
    return f"no collector was reached: none {has} {_listed(asked, 'or')}; there {_listed_or_none(there)}"


def _topics(collectors: "Iterable[Collector]") -> set[str]:
    return {topic for collector in collectors for topic in collector.topics}


def _listed_or_none(names: set[str]) -> str:
    if not names:
        return "are none"
    return f"{'is' if len(names) == 1 else 'are'} {_listed(sorted(names), 'and')}"


def _listed(names: Iterable[str], word: str) -> str:
    *most, last = map(repr, names)
    return f"{', '.join(most)} {word} {last}" if most else last
