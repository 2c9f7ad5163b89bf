"""The parts of a queue that an inspector looks at."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from event_collector.dispatch.dispatcher import Dispatcher
    from event_collector.events.dead_letters import DeadLetters
    from event_collector.handlers.collector import Collector
    from event_collector.sizing.control_loop import ControlLoop
    from event_collector.tiers.workers.worker_tier import WorkerTier


class QueueParts(NamedTuple):
    """The parts of a queue. The last two are others after each start; there are none while it does not run."""

    dispatcher: "Dispatcher"
    collectors: "Mapping[str, Collector]"
    letters: "DeadLetters"
    workers: "Mapping[str, WorkerTier]"
    control_loop: "ControlLoop | None"
