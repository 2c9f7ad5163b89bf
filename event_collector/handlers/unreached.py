"""The results of payloads that reach no collector, with the reason, and the warnings about them."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from event_collector.handlers.collector import Collector
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import ResultList

MAX_WARNINGS: Final = 100
"""Maximum number of key sets that are logged and remembered; bounds the memory that a sender can use."""


class Unreached:
    """Makes the results of payloads that reach no collector.

    `log` receives one warning for each set of keys. Topics without subscribers are normal and not logged.
    """

    def __init__(self, log: Any = None) -> None:
        self._log = log
        self._logged: set[tuple[str, ...]] = set()

    def results(self, payload: Payload[Any], collectors: Mapping[str, Collector]) -> ResultList:
        """Return an empty ResultList with the reason, and log it if it is new."""
        why = reason(payload, collectors)
        if payload._delivery is Delivery.KEY:
            self._warn_once(payload._headers.keys, "an event reached no collector", why)
        return ResultList.none(why)

    def report_unknown(self, keys: Collection[str], collectors: Mapping[str, Collector]) -> None:
        """Log the keys that no collector has if they are new; others of the payload's keys are known."""
        unknown = tuple(sorted(key for key in keys if key not in collectors))
        self._warn_once(unknown, "an event has unknown keys", _explain("has the key", unknown, collectors))

    def _warn_once(self, keys: tuple[str, ...], event: str, why: str) -> None:
        if keys not in self._logged and len(self._logged) < MAX_WARNINGS:
            self._logged.add(keys)
            if self._log is not None:
                with suppress(Exception):  # routing does not depend on the log
                    self._log.warning(event, reason=why)


def reason(payload: Payload[Any], collectors: Mapping[str, Collector]) -> str:
    """Return why a payload reaches none of the collectors."""
    if not collectors:
        return "no collector was reached: the queue has none"
    if payload._delivery is Delivery.KEY:
        wanted, relation, existing = payload.keys, "has the key", set(collectors)
    else:
        topics = {topic for collector in collectors.values() for topic in collector.topics}
        wanted, relation, existing = payload.topics, "is subscribed to", topics
    if not wanted:
        return f"no collector was reached: the payload has delivery={payload.delivery}, and names none"
    return f"no collector was reached: {_explain(relation, wanted, existing)}"


def _explain(relation: str, wanted: Iterable[str], existing: Collection[str]) -> str:
    verb = "is" if len(existing) == 1 else "are"
    there = _enumerate(sorted(existing), "and") if existing else "none"
    return f"none {relation} {_enumerate(wanted, 'or')}; there {verb} {there}"


def _enumerate(items: Iterable[str], conjunction: str) -> str:
    *most, last = map(repr, items)
    return f"{', '.join(most)} {conjunction} {last}" if most else last
