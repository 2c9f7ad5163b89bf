"""The control loop: measures a running queue, asks the control law for the sizes of its pools, and applies them.

It runs only while the queue is active. An idle queue at its minimum size has no timer.

          Gauges --- readings ---> ScalingLaw --- plan ---> Sizes
             ^                                                |
        Instruments, the queue and its workers <--------------'
"""

import math
from typing import Any, Final

from event_collector.sizing.gauges import Gauges
from event_collector.sizing.instruments import Instruments, Timer
from event_collector.sizing.loop_share import LoopShares
from event_collector.sizing.measured import LoopGuard, MeasuredQueue, Samples
from event_collector.sizing.sizes import Sizes
from event_collector.values.clock import clock
from event_collector_workers.autoscaler import MachineReading, Plan, ScalingLaw

HISTORY: Final = 50
"""Number of the last changes of size that are kept."""

MOST_OF_THE_LOOP: Final = 0.02
"""Maximum share of the event loop that looks may take. Expensive looks are made less often."""

COST_SMOOTHING: Final = 0.1
"""Weight of the newest look in the average cost of a look."""

FAILED_INTERVAL: Final = 1.0
"""Seconds between a look that failed and the next one."""

LAG_MEMORY: Final = 0.15
"""Seconds over which the lag of the loop is averaged. A longer average would mistake waiting for the loop for waiting
for something else."""

TURNS: Final = 6
"""Turns of the loop that are timed after a look, which often follows a handler that blocks. Two events, one after the
other, take as many from their sender to their handler and back: the next one of this handler is among them."""

TIMER_GRAIN: Final = 0.002
"""Seconds that a timer may be late on an idle loop: event loops round to milliseconds."""


class ControlLoop:
    """Measures and sizes one queue, in the thread of the event loop.

    While the queue is active, it looks every `interval` seconds, more than 0, or less often where looks are expensive.
    """

    def __init__(
        self,
        queue: MeasuredQueue,
        meter: Samples,
        law: ScalingLaw,
        gauges: Gauges,
        sizes: Sizes,
        instruments: Instruments,
        watchdog: LoopGuard,
        interval: float,
        log: Any,
    ) -> None:
        self._queue, self._figures = queue, queue.figures
        self._meter, self._law, self._gauges, self._sizes = meter, law, gauges, sizes
        self._instruments, self._interval, self._log = instruments, interval, log
        self._timer: Timer | None = None
        self._is_stopped = False
        self._looked = clock.now()
        self._due = self._lag = self._turn = 0.0
        self._ended = 0  # attempts that had ended at the last look
        self._cost = 0.0  # mean CPU time of a look, in seconds
        self._shares = LoopShares(log)
        self._watchdog = watchdog
        self.machine = MachineReading()  # the last reading
        self._schedule(interval)

    def stop(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._watchdog.stop()
        self._gauges.stop()
        self._is_stopped, self._timer = True, None

    def wake(self) -> None:
        """Continue after a rest. The counters have not changed since."""
        if not self._is_stopped:
            self._meter.sample(clock.now(), self._figures.counts())
            self._watchdog.watch()
            self._schedule(self._interval)

    def follow(self, law: ScalingLaw) -> None:
        """Ask another law from now on."""
        self._law = law

    def sizes(self) -> tuple[int, int, int]:
        """Return the number of wanted consumers, of ready workers, and of wanted workers."""
        return self._sizes.wanted()

    @property
    def lag(self) -> float:
        """Seconds that the event loop is late, of late; 0 while the monitor rests."""
        return 0.0 if self._timer is None else self._lag

    @property
    def blockers(self) -> list[str]:
        """Keys of the collectors whose handlers have blocked the event loop."""
        return self._watchdog.blockers

    def __repr__(self) -> str:
        state = "stopped" if self._is_stopped else "resting" if self._timer is None else "looking"
        consumers, ready, wanted = self.sizes()
        return (
            f"<ControlLoop {state}, wants {consumers} consumers, {wanted} workers ({ready} ready), lag={self._lag:.3f}>"
        )

    def _schedule(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_stopped:
            self._due = clock.now() + delay
            self._timer = self._instruments.call_later(delay, self._look)

    def _look(self) -> None:
        begun = self._instruments.loop_time()
        self._look_now(clock.now())
        self._cost += COST_SMOOTHING * (self._instruments.loop_time() - begun - self._cost)

    def _look_now(self, now: float) -> None:
        self._timer = None
        self._measure_lag(now)
        self._meter.sample(now, self._figures.counts())
        plan, failure = None, None
        elapsed, self._looked = now - self._looked, now
        try:
            readings = self._gauges.read(now, elapsed, self._lag)
            self.machine = readings.machine
            self._shares.look(elapsed, self._gauges.accounts.fresh)
            plan = self._law.decide(readings)
            self._sizes.follow(plan, self._gauges)
        except Exception as exc:  # an error in the application's law must not stop the monitor
            plan, failure = None, exc
        self._go_on(now, plan)
        # Only after the next look is scheduled: logging calls code of the application, too.
        self._watchdog.beat()
        if failure is not None:
            self._log.error("the pools could not be resized", exc_info=failure)

    def _go_on(self, now: float, plan: Plan | None) -> None:
        """Schedule the next look, if the queue is active or the plan asks for one. `plan` is None after a failure."""
        pause = max(self._interval, self._cost / MOST_OF_THE_LOOP)
        if plan is None or self._figures.active:
            self._schedule(pause if plan is not None else clock.source.patience(FAILED_INTERVAL))
            return
        if plan.next_check is not None:
            self._schedule(max(pause, plan.next_check - now))
        idle = plan.next_check is None or plan.next_check - now > pause
        self._queue.rest(idle)
        if idle:
            self._watchdog.rest()

    def _measure_lag(self, now: float) -> None:
        """Average how late looks and turns of the loop are, and have the next turns measured."""
        late, self._turn = max(now - self._due - TIMER_GRAIN, self._turn), 0.0
        # The average is over time, not over looks: a blocked loop makes few looks.
        self._lag += -math.expm1((self._looked - now) / LAG_MEMORY) * (max(0.0, late) - self._lag)
        ended, self._ended = self._ended, self._figures.attempts
        if not self._is_stopped and (self._figures.active or self._ended != ended):  # else the loop may sleep
            self._measure_turn(now, TURNS)

    def _measure_turn(self, began: float, turns: int) -> None:
        """Measure how long a ready callback waits for its turn. The timers of uvloop do not show it."""

        def turned() -> None:
            now = clock.now()
            self._turn = max(self._turn, now - began)
            if turns > 1 and not self._is_stopped:
                self._measure_turn(now, turns - 1)

        self._instruments.call_soon(turned)
