"""The results of payloads that reach no collector, with the reason, and the warnings about them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from event_collector.handlers.collector import Collector
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import ResultList

MAX_WARNINGS: Final = 100
"""Maximum number of key sets that are logged and remembered; bounds the memory that a sender can use."""


class Unreached:
    """Makes the results of payloads that reach no collector.

    `log` receives one warning for each set of unknown keys. Topics without subscribers are normal and not logged.
    """

    def __init__(self, log: Any = None) -> None:
        self._log = log
        self._logged: set[tuple[str, ...]] = set()

    def results(self, payload: Payload[Any], collectors: Mapping[str, Collector]) -> ResultList:
        """Return an empty ResultList with the reason, and log it if it is new."""
        why = reason(payload, collectors)
        keys = payload._headers.keys
        if payload.delivery is Delivery.KEY and keys not in self._logged and len(self._logged) < MAX_WARNINGS:
            self._logged.add(keys)
            if self._log is not None:
                self._log.warning("an event reached no collector", reason=why)
        return ResultList.none(why)


def reason(payload: Payload[Any], collectors: Mapping[str, Collector]) -> str:
    """Return why a payload reaches none of the collectors."""
    if not collectors:
        return "no collector was reached: the queue has none"
    if payload.delivery is Delivery.KEY:
        wanted, relation, existing = payload.keys, "has the key", set(collectors)
    else:
        topics = {topic for collector in collectors.values() for topic in collector.topics}
        wanted, relation, existing = payload.topics, "is subscribed to", topics
    if not wanted:
        return f"no collector was reached: the payload has delivery={payload.delivery}, and names none"
    verb = "is" if len(existing) == 1 else "are"
    there = _enumerate(sorted(existing), "and") if existing else "none"
    return f"no collector was reached: none {relation} {_enumerate(wanted, 'or')}; there {verb} {there}"


def _enumerate(items: Iterable[str], conjunction: str) -> str:
    *most, last = map(repr, items)
    return f"{', '.join(most)} {conjunction} {last}" if most else last
