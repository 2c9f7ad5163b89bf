"""Metrics of a queue and of its collectors, and the meter that keeps the windows behind them."""

import math
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from event_collector.watching.histograms import Histograms
from event_collector_workers.autoscaler import Change


@dataclass
class Load:
    """Events per consumer: ratio = (qsize + busy) / consumers; 0 without consumers."""

    qsize: int
    busy: int
    consumers: int

    def __post_init__(self) -> None:
        self.ratio = (self.qsize + self.busy) / self.consumers if self.consumers else 0.0


@dataclass(frozen=True)
class Metrics:
    """A queue at one instant.

    Attributes:
        timestamp: the time, in UTC.
        qsize: queued events.
        busy: events in handlers.
        consumers: events that may be in handlers at once.
        load: (qsize + busy) / consumers.
        avg_load: mean of load over the last `avg_load_interval` seconds.
        service_time: mean seconds of an event in its handlers, over the last `event_service_data_window_size` events.
        wait_time: mean seconds from sending an event to its end, over the same events.
        arrival_rate: events accepted per second, over the last `metrics_collector_window_size` seconds.
        departure_rate: events finished per second, over the same time.
        wip: arrival_rate * service_time: the mean number of busy consumers (Little's law).
        t_delta: seconds over which the rates were taken; 0, as the rates, before `metrics_warmup_interval`.
        event_count: events finished since the start.
        target_consumers: consumers that the control law wants; a burst may have grown the pool beyond them.
        workers: worker processes that are ready.
        target_workers: worker processes that the control law wants, starting ones included.
        changes: the last five decisions about sizes and places, oldest first, each with its reason;
            `CollectorQueue.changes()` returns more.
    """

    timestamp: datetime
    qsize: int
    busy: int
    consumers: int
    load: float
    avg_load: float
    service_time: float
    wait_time: float
    arrival_rate: float
    departure_rate: float
    wip: float
    t_delta: float
    event_count: int
    _: KW_ONLY
    target_consumers: int = 0
    workers: int = 0
    target_workers: int = 0
    changes: tuple[Change, ...] = ()


class Percentiles(NamedTuple):
    """Seconds that 50%, 95% and 99% of the events did not exceed; 0 before the first event."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class CollectorMetrics:
    """One collector at one instant.

    Attributes:
        key: the collector's key.
        place: where new events run: "coroutine", "thread", "process" or "executor".
        event_count: attempts that have ended; without `retry=`, one for each event.
        running: events in the handler, or waiting for a worker process.
        service_time: seconds of an event in the handler, over the last `event_service_data_window_size` events.
        wait_time: seconds from sending an event to its end, over the same events. An event that goes to several
            collectors ends with the last of them.
        error_count: attempts that failed.
        service_seconds: total seconds of all attempts in the handler.
    """

    key: str
    place: str
    event_count: int
    running: int
    service_time: Percentiles
    wait_time: Percentiles
    error_count: int = 0
    service_seconds: float = 0.0


NOTHING: Final = Metrics(datetime.fromtimestamp(0, UTC), 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
"""Metrics of a queue that was never started."""


class Accounting(NamedTuple):
    """The places of all events: accepted = finished + in_handlers + queued + scheduled + dead, at every instant.

    Attributes:
        finished: events that have their results and no dead letter.
        queued: events that wait for a handler.
        scheduled: events that wait for the time of their next attempt.
        dead: events that have their results and at least one dead letter. When the last letter is dropped or
            replayed, the event counts as finished; a replay is a new event.
    """

    accepted: int
    finished: int
    in_handlers: int
    queued: int
    scheduled: int = 0
    dead: int = 0


PLACES: Final = ("in_handlers", "queued", "scheduled", "dead")
"""The fields of an Accounting that add up, with `finished`, to `accepted`."""


class Counts(NamedTuple):
    """The dispatcher's counters at one instant."""

    accepted: int
    finished: int
    qsize: int
    busy: int
    consumers: int

    @property
    def load(self) -> float:
        """Events queued and in handlers per consumer."""
        return Load(self.qsize, self.busy, self.consumers).ratio


class _Sample(NamedTuple):
    time: float
    accepted: int
    finished: int
    load: float


class Meter:
    """Keeps the windows of the metrics. Averages are computed on request.

    Service and wait times are averaged over `events` finished events, rates and the load over windows in seconds. Rates
    are 0 in the `warmup` seconds after the start. At most `history` samples of the counters are kept.
    """

    def __init__(self, *, events: int, rate_window: float, load_window: float, warmup: float, history: int) -> None:
        # `Totals` writes both.
        self.service_times: deque[float] = deque(maxlen=events)
        self.wait_times: deque[float] = deque(maxlen=events)
        self._rate_window = rate_window
        self._load_window = load_window
        self._warmup = warmup
        self._samples: deque[_Sample] = deque()
        self._history = history
        self._spacing = max(rate_window, load_window) / history
        self._started = 0.0
        self._histograms: Histograms | None = None

    def __repr__(self) -> str:
        return f"<Meter times={len(self.wait_times)} samples={len(self._samples)}>"

    def start(self, now: float, counts: Counts) -> None:
        """Begin anew; `now` in seconds of a monotonic clock."""
        self._samples.clear()
        self._started = now
        # Events sent before the start count as arrivals of this instant.
        self._samples.append(_Sample(now, counts.finished, counts.finished, 0.0))

    def keep_histograms(self, histograms: Histograms) -> None:
        """Have histograms take the times at each sample."""
        self._histograms = histograms

    def sample(self, now: float, counts: Counts) -> None:
        """Keep the counters of this instant, unless the last sample is too recent."""
        if self._histograms is not None:
            self._histograms.look()
        if now - self._samples[-1].time < self._spacing and len(self._samples) > 1:
            return
        self._samples.append(_Sample(now, counts.accepted, counts.finished, counts.load))
        horizon = now - max(self._rate_window, self._load_window)
        while len(self._samples) > 2 and (self._samples[1].time <= horizon or len(self._samples) > self._history):
            self._samples.popleft()

    def snapshot(self, now: float, counts: Counts) -> Metrics:
        """Return the metrics of this instant."""
        service_time = _mean(self.service_times)
        arrival_rate, departure_rate, t_delta = self._rates(now, counts)
        return Metrics(
            timestamp=datetime.now(UTC),
            qsize=counts.qsize,
            busy=counts.busy,
            consumers=counts.consumers,
            load=counts.load,
            avg_load=self._average_load(now),
            service_time=service_time,
            wait_time=_mean(self.wait_times),
            arrival_rate=arrival_rate,
            departure_rate=departure_rate,
            wip=arrival_rate * service_time,
            t_delta=t_delta,
            event_count=counts.finished,
        )

    def _rates(self, now: float, counts: Counts) -> tuple[float, float, float]:
        if now - self._started < self._warmup or not self._samples:
            return 0.0, 0.0, 0.0
        base = next((s for s in self._samples if s.time >= now - self._rate_window), self._samples[-1])
        elapsed = now - base.time
        if elapsed <= 0:
            return 0.0, 0.0, 0.0
        return ((counts.accepted - base.accepted) / elapsed, (counts.finished - base.finished) / elapsed, elapsed)

    def _average_load(self, now: float) -> float:
        """Return the mean over time. A sample holds until the next one."""
        begin = max(now - self._load_window, self._started)
        area, until = 0.0, now
        for sample in reversed(self._samples):
            area += sample.load * (until - max(sample.time, begin))
            until = sample.time
            if until <= begin:
                break
        return area / (now - begin) if now > begin else 0.0


def percentiles(times: Iterable[float]) -> Percentiles:
    """Return the smallest times that 50%, 95% and 99% of the times do not exceed (nearest rank)."""
    kept = sorted(times)
    if not kept:
        return Percentiles(0.0, 0.0, 0.0)
    return Percentiles(*(kept[math.ceil(share * len(kept)) - 1] for share in (0.50, 0.95, 0.99)))


def _mean(times: Collection[float]) -> float:
    return sum(times) / len(times) if times else 0.0
