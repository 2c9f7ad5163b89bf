"""The sizes of a queue's pools: the control loop of a run, its decisions, and bounds that may change meanwhile."""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.dispatch.permits import ConsumerLimits
from event_collector.handlers.collector import Collector
from event_collector.life.open_tiers import Tiers
from event_collector.life.scaling import make_law, most_workers
from event_collector.life.settings import Settings
from event_collector.sizing.control_loop import HISTORY, ControlLoop
from event_collector.sizing.gauges import Gauges
from event_collector.sizing.instruments import RealInstruments
from event_collector.sizing.sizes import Sizes
from event_collector.sizing.watchdog import Watchdog
from event_collector.values.clock import clock
from event_collector.watching.collector_times import collector_times
from event_collector.watching.details import SizeDecision, decided
from event_collector.watching.histograms import Histograms
from event_collector.watching.metrics import Counts, Meter, Metrics
from event_collector_workers.autoscaler import Autoscaler, Change, ScalingLaw
from event_collector_workers.environment import DEFAULT_GROUP

if TYPE_CHECKING:
    from types import FrameType

SHOWN: Final = 5
"""Number of the last changes of size in the metrics."""

LEAST_INTERVAL: Final = 0.05
"""Minimum seconds between two looks of the control loop. The law does not improve with shorter intervals."""


class Regulation:
    """Measures and sizes one queue while it runs.

    Attributes:
        settings: of the queue. `bound()` replaces them.
        changes: the last decisions, oldest first.
        decisions: the same, with time and numbers.
        loop: the control loop; None while the queue does not run.
        histograms: of the times of each collector; None until they are asked for.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        meter: Meter,
        settings: Settings,
        law: ScalingLaw | None,
        collectors: Mapping[str, Collector],
        log: Any,
    ) -> None:
        self._dispatcher, self._meter, self._collectors, self._log = dispatcher, meter, collectors, log
        self._given, self._law = law, law
        self.loop: ControlLoop | None = None
        self._tiers: Tiers | None = None
        self.settings = settings
        self.changes: deque[Change] = deque(maxlen=HISTORY)
        self.decisions: deque[SizeDecision] = deque(maxlen=HISTORY)
        self.histograms: Histograms | None = None

    @property
    def is_open(self) -> bool:
        """Whether it measures."""
        return self.loop is not None

    @property
    def most_workers(self) -> int:
        """The upper bound of the number of worker processes of the default group."""
        return most_workers(self.settings)

    def open(self, everyone: Collection[Collector], tiers: Tiers) -> ControlLoop:
        """Begin to measure, and return the control loop of this run."""
        dispatcher, workers = self._dispatcher, tiers.workers
        self._tiers = tiers
        self._law = law = self._make_law(tiers) if self._given is None else self._given
        self._meter.start(clock.now(), dispatcher.figures.counts())
        instruments = RealInstruments(workers)
        gauges = Gauges(
            dispatcher, list(everyone), workers, tiers.adaptive, tiers.executors, instruments,
            in_groups=isinstance(law, Autoscaler),
        )  # fmt: skip
        self.loop = ControlLoop(
            dispatcher,
            self._meter,
            law,
            gauges,
            Sizes(dispatcher, workers, tiers.adaptive, self._note, self._log),
            instruments,
            Watchdog(self._key_in, self._log),
            max(LEAST_INTERVAL, clock.source.least_pause, self.settings.monitor_interval),
            self._log,
        )
        return self.loop

    def keep_histograms(self) -> None:
        """Keep histograms from now on: each look of the control loop adds to them."""
        if self.histograms is None:
            self.histograms = Histograms(
                lambda: collector_times(self._collectors, self._dispatcher.figures, self._meter)
            )
            self._meter.keep_histograms(self.histograms)

    def stop(self) -> None:
        """Measure no more."""
        if self.loop is not None:
            self.loop.stop()

    def close(self) -> None:
        """Forget the tiers of the run."""
        self.loop = self._tiers = None

    def metrics(self, counts: Counts) -> Metrics:
        """Return the metrics of this instant."""
        metrics = self._meter.snapshot(clock.now(), counts)
        is_open = self.loop is not None and counts.consumers
        consumers, workers, wanted = self.loop.sizes() if self.loop is not None and is_open else (0, 0, 0)
        shown = tuple(self.changes)[-SHOWN:]
        return replace(metrics, target_consumers=consumers, workers=workers, target_workers=wanted, changes=shown)

    def bound(self, *, max_workers: int | None, max_consumers: int | None) -> list[Change]:
        """Set other upper bounds, None for the present one, and return what has changed.

        They hold at once, and at later starts. Events and workers beyond them finish first. A law of the application
        is not told: its plans are cut.

        Raises:
            ConfigError: a bound is out of its range, or below the minimum of its pool.
        """
        changes = self.planned(max_workers=max_workers, max_consumers=max_consumers)
        self.settings = settings = self.settings.bounded(max_workers=max_workers, max_consumers=max_consumers)
        self._dispatcher.permits.bound(
            ConsumerLimits(settings.min_consumers, settings.max_consumers, settings.autoscale)
        )
        if self.loop is not None and self._tiers is not None:
            self._bound_run(self.loop, self._tiers)
        for change in changes:
            self._note(change)
        return changes

    def planned(self, *, max_workers: int | None, max_consumers: int | None) -> list[Change]:
        """Return what `bound()` would change. Raises as it does."""
        settings = self.settings.bounded(max_workers=max_workers, max_consumers=max_consumers)
        rows = (
            ("max_workers", self.most_workers, most_workers(settings)),
            ("max_consumers", self.settings.max_consumers, settings.max_consumers),
        )
        return [Change(name, before, after, "it was set") for name, before, after in rows if before != after]

    def _bound_run(self, loop: ControlLoop, tiers: Tiers) -> None:
        if (workers := tiers.workers.groups.get(DEFAULT_GROUP)) is not None:
            workers.bound(self.most_workers)
        if self._given is None:
            law = self._make_law(tiers)
            if isinstance(self._law, Autoscaler) and isinstance(law, Autoscaler):
                self._law.bound(law.limits)  # it keeps what it has learned
            else:
                self._law = law
                loop.follow(law)
        self._dispatcher.resize(self._dispatcher.permits.full_size)
        loop.wake()

    def _note(self, change: Change) -> None:
        self.changes.append(change)
        if self.loop is not None:
            self.decisions.append(decided(change, self._dispatcher.permits.size, self.loop.sizes()))

    def _make_law(self, tiers: Tiers) -> ScalingLaw:
        return make_law(self.settings, tiers.workers.groups, adaptive=tiers.adaptive is not None)

    def _key_in(self, frame: "FrameType | None") -> str | None:
        handlers = self._dispatcher.handlers
        return None if handlers is None else handlers.key_in(frame)

    def __repr__(self) -> str:
        return f"<Regulation {self.loop!r}>"
