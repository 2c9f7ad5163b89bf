"""The parts of a queue, made from the arguments of its user."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.dispatch.permits import ConsumerLimits
from event_collector.dispatch.retries import refuse_retries
from event_collector.events.dead_letters import DeadLetters
from event_collector.handlers import decorator
from event_collector.handlers.collector import ADAPTIVE, PROCESS, Collector, CollectorList
from event_collector.handlers.router import Router, SimpleRouter
from event_collector.handlers.unreached import Unreached
from event_collector.life.settings import Settings, Workers
from event_collector.values.errors import ConfigError
from event_collector.watching.metrics import Meter
from event_collector_workers.environment import DEFAULT_GROUP

if TYPE_CHECKING:
    from event_collector.journal.journal_recorder import JournalRecorder


def by_key(collectors: CollectorList, groups: Mapping[str, Workers] | None) -> dict[str, Collector]:
    """Return the collectors by key; those of functions have the names of these.

    Raises ConfigError if one is neither a Collector nor a function, if a key occurs twice, or if the worker groups are
    not those that the collectors have.
    """
    found: dict[str, Collector] = {}
    if isinstance(collectors, Collector):
        raise ConfigError(f"collectors is a list: write CollectorQueue([...]) around collector {collectors.key!r}")
    given: Any = collectors
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping)):
        raise ConfigError(f"collectors is a list of Collectors, or of functions, not {given!r}")
    for one in collectors:
        made = one if isinstance(one, Collector) else _collector_of(one)
        if made.key in found:
            raise ConfigError(f"two collectors have the key {made.key!r}: give each a key of its own")
        found[made.key] = made
    _check_groups(found, groups or {})
    return found


def _check_groups(collectors: Mapping[str, Collector], groups: Mapping[str, Workers]) -> None:
    for key, collector in collectors.items():
        group = collector.worker_group
        if group != DEFAULT_GROUP and group not in groups:
            known = f"this queue has {', '.join(map(repr, groups))}" if groups else "this queue has none"
            raise ConfigError(
                f"collector {key!r}: there is no worker group {group!r}, {known}: give the queue "
                f"worker_groups={{{group!r}: Workers(...)}}"
            )
    unused = set(groups) - {collector.worker_group for collector in collectors.values()}
    if unused:
        name = min(unused)
        raise ConfigError(f"worker_groups: no collector has workers={name!r}: give it to one, or drop the group")


def groups_of(collectors: Iterable[Collector]) -> list[str]:
    """Return the names of the worker groups that collectors run in; those of one group if none does."""
    groups = {one.worker_group: None for one in collectors if one.mode in (PROCESS, ADAPTIVE)}
    return list(groups) or [DEFAULT_GROUP]


def _collector_of(function: Any) -> Collector:
    if not callable(function) or isinstance(function, type):
        kind = "a class" if isinstance(function, type) else type(function).__name__
        raise ConfigError(f"collectors is a list of Collectors, or of functions, not of {kind}: {function!r}")
    made: Collector = decorator.collector(function)
    return made


def make_meter(settings: Settings) -> Meter:
    """Return the meter of a queue."""
    return Meter(
        events=settings.event_service_data_window_size,
        rate_window=settings.metrics_collector_window_size,
        load_window=settings.avg_load_interval,
        warmup=settings.metrics_warmup_interval,
        history=settings.metrics_history_size,
    )


def make_dispatcher(
    settings: Settings, meter: Meter, letters: DeadLetters, collectors: Mapping[str, Collector]
) -> Dispatcher:
    """Return the dispatcher of a queue."""
    return Dispatcher(
        queue_type=settings.queue_type,
        default_priority=settings.default_priority,
        max_queue_size=settings.max_queue_size,
        overflow=settings.overflow,
        limits=ConsumerLimits(settings.min_consumers, settings.max_consumers, settings.autoscale),
        meter=meter,
        letters=letters,
        worker_groups=groups_of(collectors.values()),
    )


def make_recorder(journal: Any, collectors: dict[str, Collector], log: Any) -> "JournalRecorder | None":
    """Return the recorder of a Journal, or of a journal at a path; None without a journal.

    Raise ConfigError if a handler yields.
    """
    if journal is None:
        return None
    yielding = next((key for key, collector in collectors.items() if collector.is_generator), None)
    if yielding is not None:
        raise ConfigError(
            f"collector {yielding!r} yields parts, which a journal cannot keep: after a crash its handler would begin "
            f"again with no reader. Return a list of the items, or give the queue no journal="
        )
    from event_collector.journal.journal_options import Journal
    from event_collector.journal.journal_recorder import JournalRecorder

    return JournalRecorder(journal if isinstance(journal, Journal) else Journal(journal), collectors, log)


def make_router(router: Any, collectors: dict[str, Collector], log: Any) -> Router:
    """Return a router. Raises ConfigError if the class is not a Router, or cannot retry a single collector."""
    is_class = isinstance(router, type)
    can_be_called = callable(getattr(router, "handle_event", None)) if is_class else callable(router)
    made: Any = router(collectors) if can_be_called else None
    if not callable(getattr(made, "handle_event", None)):
        other = f"; give other options by name, such as max_consumers={router}" if isinstance(router, int) else ""
        raise ConfigError(f"router is a class with a method handle_event(payload), not {router!r}{other}")
    routing: Router = made
    refuse_retries(routing, collectors)
    if isinstance(routing, SimpleRouter):
        routing.answer_unreached(Unreached(log))
    return routing
