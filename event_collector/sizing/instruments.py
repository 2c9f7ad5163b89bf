"""The instruments of a monitor: timers, the time of this process, the machine, and samples of handlers.

A simulation has its own, and asks the law through the same monitor.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import get_native_id
from time import process_time, thread_time
from typing import Any, Protocol

from event_collector.handlers.collector import ADAPTIVE, COROUTINE, Collector
from event_collector.sizing.measured import MeasuredWorkers
from event_collector.sizing.step_samples import Sample, StepSampler
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector_workers.autoscaler import MachineReading
from event_collector_workers.machine import Machine, run_delay


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Withdraw it."""


class Sampler(Protocol):
    """Samples the steps of one collector's events."""

    def arm(self, events: int, /) -> None:
        """Sample the next events."""

    def disarm(self) -> None:
        """Stop sampling."""

    def take(self) -> list[Sample]:
        """Return and remove the samples."""


class Instruments(Protocol):
    """All that the monitor of one queue measures with. Times are in seconds."""

    def call_later(self, delay: float, callback: Callable[[], Any], /) -> Timer:
        """Call back in the event loop, `delay` seconds from now."""

    def call_soon(self, callback: Callable[[], Any], /) -> object:
        """Call back in the next turn of the event loop."""

    def process_time(self) -> float:
        """Return the CPU time of this process."""

    def loop_time(self) -> float:
        """Return the CPU time of the thread of the event loop, which calls this."""

    def loop_delay(self) -> float:
        """Return the time for which the thread of the event loop was ready to run, but had no CPU."""

    def machine(self, now: float, own_cpu: float, /) -> MachineReading:
        """Return what the machine grants, at most a few seconds old.

        `own_cpu` is the CPU time of this process and its workers together.
        """

    def sampler(self, collector: Collector, adaptive: AdaptiveTier | None, /) -> Sampler | None:
        """Return what samples a collector; None if its events are not sampled."""


class RealInstruments:
    """The instruments of the event loop that runs, of this machine, and of its workers."""

    def __init__(self, workers: MeasuredWorkers | None) -> None:
        loop = asyncio.get_running_loop()
        self.call_later, self.call_soon = loop.call_later, loop.call_soon
        self.process_time, self.loop_time = process_time, thread_time
        self._thread = get_native_id()
        self._own_cpu = 0.0
        self._machine = Machine(
            self._last_own_cpu, workers.measure_memory if workers is not None and workers.groups else None
        )

    def loop_delay(self) -> float:
        """Return the time for which the thread of the event loop had no CPU; 0.0 where the system does not tell."""
        return run_delay(self._thread) or 0.0

    def machine(self, now: float, own_cpu: float) -> MachineReading:
        """Return what the machine grants."""
        self._own_cpu = own_cpu
        return self._machine.read(now)

    def sampler(self, collector: Collector, adaptive: AdaptiveTier | None) -> Sampler | None:
        """Return what samples a collector that may move, or that runs in the event loop."""
        if collector.mode == ADAPTIVE and adaptive is not None:
            return StepSampler(collector, partial(adaptive.examine, collector))
        # A call of a batch handler would be taken for an event.
        is_sampled = collector.mode == COROUTINE and collector.batch is None
        return StepSampler(collector) if is_sampled else None

    def _last_own_cpu(self) -> float:
        return self._own_cpu
