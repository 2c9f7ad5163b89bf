"""What the control law does in situations that matter, told as short stories on a clock of their own."""

import random
from itertools import pairwise

import pytest

from event_collector_workers.autoscaler import (
    Autoscaler,
    Change,
    CollectorReading,
    MachineReading,
    Plan,
    Readings,
    ScalingLimits,
    Tier,
    TierReading,
    Tuning,
    burst_size,
)
from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.unrouted import Unrouted

MIB = 1 << 20


class Story:
    """One collector, one law, one clock; `goes_on` lets time pass with a given load, tick by tick."""

    def __init__(
        self, limits: ScalingLimits | None = None, *, tier: Tier = Tier.PROCESS, adaptive: bool = False
    ) -> None:
        self.law = Autoscaler(limits)
        self.tier, self.adaptive = tier, adaptive
        self.now = self.arrivals = self.completions = self.wall = self.cpu = self.loop_busy = 0.0
        self.machine = MachineReading(cpus=16.0)
        self.startup: float | None = 0.1
        self.memory: float | None = 50 * MIB
        self.plan = Plan(consumers=1, workers=0, consumer_ceiling=1)
        self.changes: list[Change] = []

    def goes_on(
        self,
        seconds: float,
        *,
        rate: float = 0.0,
        cpu: float = 0.01,
        waiting: float = 0.0,
        queued: int = 0,
        running: int | None = None,
        loop: float = 0.0,
        chance: random.Random | None = None,
    ) -> Plan:
        """Let events arrive at a rate and end at once, each with its CPU and waiting time."""
        for _ in range(max(1, round(seconds / 0.05))):
            self.now += 0.05
            came = rate * 0.05 if chance is None else float(sum(chance.random() < rate / 1000 for _ in range(50)))
            self.arrivals += came
            self.completions += came
            self.wall += came * (cpu + waiting)
            self.cpu += came * cpu
            self.loop_busy += loop * 0.05
            busy = running if running is not None else round(rate * (cpu + waiting))
            self.decide(queued, busy)
        return self.plan

    def comes(self, queued: int = 0, running: int = 0) -> Plan:
        """Let one event arrive."""
        self.now += 0.05
        self.arrivals += 1
        return self.decide(queued, running)

    def decide(self, queued: int = 0, running: int = 0) -> Plan:
        collector = CollectorReading(
            key="work",
            tier=self.tier,
            adaptive=self.adaptive,
            arrivals=self.arrivals,
            completions=self.completions,
            wall=self.wall,
            cpu=self.cpu,
            queued=queued,
            running=running,
        )
        on_loop = running if self.tier is Tier.COROUTINE else 0
        ready = self.plan.workers
        self.plan = self.law.decide(
            Readings(
                now=self.now,
                collectors=(collector,),
                consumers=TierReading(size=self.plan.consumers, busy=on_loop),
                workers=TierReading(size=ready, busy=min(ready, running)),
                machine=self.machine,
                loop_busy=self.loop_busy,
                worker_startup=self.startup,
                worker_memory=self.memory,
            )
        )
        self.changes += self.plan.changes
        return self.plan


def test_before_anything_happens_the_minimum_holds_and_nothing_is_asked_for() -> None:
    """A fresh law keeps the minimum and wants no call before something happens."""
    plan = Story(ScalingLimits(min_consumers=3, min_workers=2)).decide()
    assert (plan.consumers, plan.workers, plan.next_check, plan.changes) == (3, 2, None, ())


def test_a_burst_before_the_first_look_counts() -> None:
    """Consumers of a burst that has come and gone before the law first hears of anything stay their time, then go."""
    law = Autoscaler(ScalingLimits(max_consumers=1000))
    collector = CollectorReading(
        key="work", tier=Tier.COROUTINE, arrivals=500.0, completions=500.0, wall=5.0, cpu=0.1, queued=0, running=0
    )
    first = Readings(now=0.0, collectors=(collector,), consumers=TierReading(size=571, busy=458))
    assert law.decide(first).consumers >= 458
    later = [
        law.decide(Readings(now=now / 10, collectors=(collector,), consumers=TierReading(size=571, busy=0))).consumers
        for now in range(1, 150)
    ]
    assert later[50] >= 458
    assert later[-1] == 1


def test_forty_waiting_events_may_run_at_once() -> None:
    """A burst may grow the coroutine tier in the same loop turn, and the next plan keeps what was grown."""
    story = Story(ScalingLimits(max_consumers=100), tier=Tier.COROUTINE)
    ceiling = story.decide().consumer_ceiling
    assert burst_size(40, ceiling) >= 40
    assert story.decide(running=40).consumers >= 40
    assert story.decide(running=40).next_check == pytest.approx(story.now + 0.05)


def test_a_thousand_waiting_events_that_sleep_all_run_soon() -> None:
    """Above the free growth the tier doubles: a thousand sleeping events all run within a second."""
    story = Story(tier=Tier.COROUTINE)
    running = 0
    for _ in range(20):
        running = min(1000, burst_size(1000, story.plan.consumer_ceiling))
        story.goes_on(0.05, queued=1000 - running, running=running)
    assert running == 1000


def test_events_that_wait_beside_a_busy_program_begin_soon() -> None:
    """A loop that is full of other things keeps ten thousand events that only wait for seconds, not for more."""
    story = Story(tier=Tier.COROUTINE)
    running = 0
    while running < 10_000 and story.now < 3.0:
        running = min(10_000, max(running, burst_size(10_000, story.plan.consumer_ceiling)))
        story.goes_on(0.05, queued=10_000 - running, running=running, loop=1.0)
    assert running == 10_000


def test_need_follows_littles_law_with_a_square_root_of_spare() -> None:
    """100 events a second of 50 ms keep 5 workers busy; half of sqrt(5) more stand ready."""
    story = Story()
    plan = story.goes_on(20.0, rate=100.0, cpu=0.05)
    assert plan.workers == 7
    assert "100 events/s of" in story.changes[-1].reason
    assert "(100% CPU)" in story.changes[-1].reason


def test_workers_never_exceed_the_cores_they_can_keep_busy() -> None:
    """An overload of pure CPU work gets as many workers as cores, not more."""
    plan = Story().goes_on(20.0, rate=1000.0, cpu=0.1, queued=5000, running=16)
    assert plan.workers == 16


def test_workers_that_wait_get_more_than_the_cores() -> None:
    """Work that waits half of its time needs about twice as many workers to keep the cores busy."""
    plan = Story().goes_on(20.0, rate=1000.0, cpu=0.05, waiting=0.05, queued=5000, running=40)
    assert 32 <= plan.workers <= 40


def test_a_quota_that_shrinks_takes_workers_away() -> None:
    """Workers for which there are no cores any longer leave as idle ones do."""
    story = Story()
    story.goes_on(10.0, rate=1000.0, cpu=0.1, queued=5000, running=16)
    story.machine = MachineReading(cpus=4.0)
    story.goes_on(5.0, rate=1000.0, cpu=0.1, queued=5000, running=16)
    assert story.plan.workers == 16
    story.goes_on(10.0, rate=1000.0, cpu=0.1, queued=5000, running=16)
    assert story.plan.workers == 4


def test_half_a_core_still_gets_a_worker() -> None:
    """A quota of half a core does not stop the work."""
    story = Story()
    story.machine = MachineReading(cpus=0.5)
    assert story.goes_on(5.0, rate=10.0, cpu=0.02, queued=10).workers == 1


def test_the_load_of_other_programs_takes_no_workers_away() -> None:
    """The system shares cores fairly: a pool that made room would get less than its share."""
    story = Story()
    story.machine = MachineReading(cpus=2.0, others=2.0)
    assert story.goes_on(30.0, rate=100.0, cpu=0.1, queued=90, running=2).workers == 2


def test_a_polite_pool_leaves_cores_to_others() -> None:
    """Cores that another program keeps busy are not planned with, if that is asked for."""
    story = Story(ScalingLimits(polite=True))
    story.machine = MachineReading(cpus=16.0, others=6.0)
    assert story.goes_on(20.0, rate=1000.0, cpu=0.1, queued=5000, running=10).workers == 10


def test_polite_work_goes_on_beside_others_that_take_everything() -> None:
    """However much other programs take, what one core can feed is planned with."""
    story = Story(ScalingLimits(polite=True))
    story.machine = MachineReading(cpus=16.0, others=20.0)
    assert story.goes_on(20.0, rate=1000.0, cpu=0.05, waiting=0.05, queued=500, running=3).workers == 4


def test_a_steady_share_of_cpu_time_that_varies_changes_nothing() -> None:
    """The CPU cap follows the share of CPU time; the size does not follow each of its chance moves."""
    story, chance = Story(), random.Random(3)
    story.machine = MachineReading(cpus=2.0)
    story.goes_on(20.0, rate=44.0, cpu=0.04, waiting=0.01, queued=2)
    before = len(story.changes)
    for _ in range(60):
        story.goes_on(1.0, rate=44.0, cpu=0.04, waiting=0.01 * chance.uniform(0.2, 1.8), queued=2)
    assert len(story.changes) - before <= 6


def test_memory_that_becomes_short_is_given_back_at_once() -> None:
    """When another program takes the memory, workers go in the next decision, not after a delay."""
    story = Story()
    story.machine = MachineReading(cpus=16.0, memory_limit=1000 * MIB, memory_used=100 * MIB)
    story.goes_on(10.0, rate=1000.0, cpu=0.1, queued=500, running=16)
    assert story.plan.workers == 16
    used = 16 * 50 * MIB + 450 * MIB
    story.machine = MachineReading(cpus=16.0, memory_limit=1000 * MIB, memory_used=used)
    story.goes_on(0.05, rate=1000.0, cpu=0.1, queued=500, running=16)
    assert story.plan.workers <= 10
    assert "memory is short" in story.changes[-1].reason


def memory_story(law: Autoscaler, now: float, workers: int, *, largest: int, used: int, of_them: int) -> int:
    """Return the workers planned for, with so many MiB: of the largest worker, in use, and of that in workers."""
    machine = MachineReading(cpus=8.0, memory_limit=1000 * MIB, memory_used=used * MIB, memory_workers=of_them * MIB)
    reading = CollectorReading(key="work", tier=Tier.PROCESS, queued=500, running=workers)
    tier = TierReading(size=workers, busy=workers)
    readings = Readings(
        now=now, collectors=(reading,), workers=tier, machine=machine, worker_memory=largest * MIB, worker_startup=0.1
    )
    return law.decide(readings).workers


def test_workers_started_since_the_memory_was_read_are_no_other_programs() -> None:
    """A reading of one worker stands for two seconds, in which eight start: nothing is taken away for that."""
    law = Autoscaler()
    workers, sizes = 1, []
    for tick in range(200):
        if tick % 40 == 0:  # the machine is read again
            used, of_them = 100 + 100 * workers, 100 * workers
        workers = memory_story(law, tick * 0.05, workers, largest=100, used=used, of_them=of_them)
        sizes.append(workers)
    assert set(sizes[1:]) == {8}


def test_a_worker_needs_what_it_has_ever_needed() -> None:
    """Workers that are idle when their memory is read will need as much as before again."""
    law = Autoscaler()
    assert memory_story(law, 0.0, 1, largest=400, used=500, of_them=400) == 1
    for tick in range(1, 600):
        assert memory_story(law, tick * 0.05, 1, largest=40, used=140, of_them=40) == 1


def test_before_a_worker_was_measured_memory_is_risked_with_care() -> None:
    """As long as nobody knows what a worker needs, a small container starts one and looks."""
    story = Story()
    story.memory = None
    story.machine = MachineReading(cpus=16.0, memory_limit=1000 * MIB, memory_used=100 * MIB)
    assert story.goes_on(1.0, rate=500.0, cpu=0.1, queued=500).workers == 1


def test_a_steady_load_is_left_alone() -> None:
    """Under a steady Poisson load there are at most three changes a minute after the first minute."""
    for seed in range(5):
        story = Story(tier=Tier.PROCESS)
        story.goes_on(60.0, rate=200.0, cpu=0.04, chance=random.Random(seed))
        before = len(story.changes)
        story.goes_on(180.0, rate=200.0, cpu=0.04, chance=random.Random(seed + 100))
        assert len(story.changes) - before <= 9


def test_soon_after_a_change_a_few_short_events_that_wait_start_no_worker() -> None:
    """They are chance; many are not."""
    story = Story()
    story.machine = MachineReading(cpus=4.0)
    assert story.goes_on(1.0, rate=20.0, cpu=0.04).workers == 2
    assert story.goes_on(1.0, rate=20.0, cpu=0.04, queued=6).workers == 2
    assert story.goes_on(0.05, rate=20.0, cpu=0.04, queued=7).workers == 3
    assert story.goes_on(20.0, rate=20.0, cpu=0.04).workers == 2
    assert story.goes_on(10.0, rate=20.0, cpu=0.04).workers == 2
    assert story.goes_on(0.05, rate=20.0, cpu=0.04, queued=6).workers == 3  # the last change is long ago


def test_the_first_event_after_the_last_worker_was_given_up_has_one_planned() -> None:
    """The pool starts one for it, so it does not count as waiting."""
    story = Story()
    story.goes_on(20.0, rate=20.0, cpu=0.04)
    while story.plan.workers:
        story.goes_on(0.05)
        assert story.now < 100.0
    assert story.comes(running=1).workers == 1


def test_a_long_event_that_waits_gets_a_worker_at_once() -> None:
    """The second one of 30 seconds does not wait for the first, although its worker has just been started."""
    story = Story()
    story.machine = MachineReading(cpus=2.0)
    story.goes_on(60.0, rate=0.1, cpu=30.0, running=0)
    assert story.goes_on(200.0, running=0).workers == 0
    assert story.comes(running=1).workers == 1
    assert story.goes_on(1.0, running=1).workers == 1
    assert story.comes(queued=1, running=1).workers == 2


def test_each_long_event_of_a_first_batch_gets_a_worker() -> None:
    """They came before the first look, which knows no rate; none has ended, but they grow old."""
    story = Story()
    story.machine = MachineReading(cpus=4.0)
    story.arrivals = 3
    assert story.decide(queued=2, running=1).workers == 1
    assert story.goes_on(0.4, queued=2, running=1).workers == 3


def until_fewer(story: Story, rate: float) -> float:
    """Return the seconds until the law wants fewer workers, at this rate."""
    begun, before = story.now, story.plan.workers
    while story.plan.workers >= before:
        assert story.now < begun + 120.0
        story.goes_on(0.05, rate=rate, cpu=0.04)
    return story.now - begun


def test_many_workers_go_soon_and_single_ones_late() -> None:
    """A need that varies by chance does so by single workers."""
    story = Story()
    story.goes_on(60.0, rate=300.0, cpu=0.04)
    assert story.plan.workers == 14
    assert until_fewer(story, 100.0) < 12.0  # its arrival rate falls for some seconds
    assert story.plan.workers <= 10
    story = Story()
    story.goes_on(60.0, rate=300.0, cpu=0.04)
    assert until_fewer(story, 250.0) > 12.0


def test_a_worker_that_was_needed_again_is_kept_for_longer() -> None:
    story = Story()
    story.goes_on(60.0, rate=110.0, cpu=0.04)
    first = until_fewer(story, 75.0)
    story.goes_on(15.0, rate=110.0, cpu=0.04)
    assert until_fewer(story, 75.0) > first + 15.0


def test_a_single_worker_does_not_come_and_go_with_each_event() -> None:
    """An event every five seconds finds the worker of the last one."""
    story = Story()
    story.goes_on(1.0, rate=20.0, cpu=0.04)
    before = len(story.changes)
    for _ in range(20):
        story.goes_on(5.0)
        story.goes_on(0.05, rate=20.0, cpu=0.04)
    assert len(story.changes) - before <= 1


def test_workers_go_in_few_steps() -> None:
    """After a load that fades, workers are taken away at most every five seconds, and then all that are not needed."""
    story = Story()
    story.goes_on(5.0, rate=300.0, cpu=0.04)
    steps = []
    for second in range(600):
        before = story.plan.workers
        story.goes_on(0.1, rate=300.0 * 0.99 ** (second / 3), cpu=0.04)
        if story.plan.workers < before:
            steps.append(story.now)
    assert len(steps) >= 3
    assert all(later - sooner >= 4.99 for sooner, later in pairwise(steps))


def test_slow_starting_workers_are_kept_warm() -> None:
    """Where a worker takes five seconds to start, three quarters of the cores stay staffed although nothing happens."""
    story = Story()
    story.startup = 5.0
    assert story.goes_on(0.05).workers == 12
    assert story.plan.next_check is None


def test_quickly_starting_workers_are_not_kept_for_nothing() -> None:
    """Where a worker starts within a second, none is kept while nothing happens, but the first one for a while."""
    story = Story()
    story.startup = 0.9
    assert story.goes_on(0.05).workers == 1
    assert story.plan.next_check is not None
    story.now = story.plan.next_check
    assert story.goes_on(0.05).workers == 0
    assert story.plan.next_check is None


def test_a_long_event_tells_its_length_before_it_ends() -> None:
    """Events that run for long count as that long before they end, so those behind them get workers."""
    story = Story()
    story.goes_on(1.0, queued=40, running=1)
    assert story.plan.workers >= 10


def test_a_saturated_back_end_is_capped_at_its_knee() -> None:
    """When concurrency only makes the waiting longer, the tier goes back to where that began."""
    story = Story(tier=Tier.COROUTINE)
    story.goes_on(10.0, rate=400.0, cpu=0.0001, waiting=0.05, running=20, queued=200)
    while story.plan.consumers > 40:
        running = min(600, story.plan.consumers)
        waiting = running / 400
        story.goes_on(0.05, rate=400.0, cpu=0.0001, waiting=waiting, running=running, queued=600 - running)
        assert story.now < 20.0
    assert 20 <= story.plan.consumers == story.plan.consumer_ceiling
    assert "the back end is saturated" in story.changes[-1].reason


def test_a_back_end_that_is_only_slower_is_not_throttled_for_long() -> None:
    """When the cap does not bring the waiting down, it was not the concurrency: the cap goes."""
    story = Story(tier=Tier.COROUTINE)
    story.goes_on(10.0, rate=400.0, cpu=0.0001, waiting=0.05, running=20)
    ceilings = []
    for _ in range(200):
        running = min(600, story.plan.consumers)
        rate = running / 0.25
        story.goes_on(0.05, rate=rate, cpu=0.0001, waiting=0.25, running=running, queued=600 - running)
        ceilings.append(story.plan.consumer_ceiling)
    assert min(ceilings) < 100
    assert ceilings[-1] > 400


def test_a_handler_that_burns_cpu_leaves_the_loop() -> None:
    """An adaptive handler with 20 ms of CPU goes to the workers, and workers are there for it."""
    story = Story(tier=Tier.COROUTINE, adaptive=True)
    plan = story.goes_on(1.0, rate=20.0, cpu=0.02, loop=0.4)
    assert plan.placement == {"work": Tier.PROCESS}
    move = next(change for change in story.changes if change.subject == "work")
    assert (move.before, move.after) == (Tier.COROUTINE, Tier.PROCESS)
    assert "20 ms of CPU" in move.reason
    assert plan.workers >= 1


def test_a_handler_that_only_waits_leaves_the_workers() -> None:
    """An adaptive handler with next to no CPU goes back to the loop after fifty events."""
    story = Story(tier=Tier.PROCESS, adaptive=True)
    assert story.goes_on(1.0, rate=40.0, cpu=0.0005, waiting=0.1).placement == {"work": Tier.PROCESS}
    assert story.goes_on(1.0, rate=40.0, cpu=0.0005, waiting=0.1).placement == {"work": Tier.COROUTINE}


def test_the_heaviest_handler_leaves_a_hot_loop() -> None:
    """On a loop that is 90% busy even a handler with 3 ms of CPU is worth moving."""
    story = Story(tier=Tier.COROUTINE, adaptive=True)
    plan = story.goes_on(3.0, rate=280.0, cpu=0.003, waiting=0.02, loop=0.9)
    assert plan.placement == {"work": Tier.PROCESS}


def test_without_workers_nothing_leaves_the_loop() -> None:
    """Where no worker is allowed, an adaptive handler stays on the loop however much it burns."""
    story = Story(ScalingLimits(max_workers=0), tier=Tier.COROUTINE, adaptive=True)
    assert story.goes_on(3.0, rate=50.0, cpu=0.02, loop=1.0).placement == {"work": Tier.COROUTINE}


def test_a_handler_that_may_not_move_stays() -> None:
    """A handler that is not adaptive is sized where it is, and never placed."""
    story = Story(tier=Tier.COROUTINE)
    assert story.goes_on(3.0, rate=50.0, cpu=0.02, loop=1.0).placement == {}


def test_nothing_is_scaled_while_draining() -> None:
    """During a shutdown the plan stays what it was, whatever the readings say."""
    story = Story()
    story.goes_on(5.0, rate=100.0, cpu=0.05)
    law = story.law
    plan = law.decide(Readings(now=story.now + 60.0, draining=True))
    assert (plan.workers, plan.changes, plan.next_check) == (story.plan.workers, (), None)


@pytest.mark.parametrize("tier", Tier)
def test_a_missing_reading_blocks_scale_down(tier: Tier) -> None:
    """As long as a reading is not to be trusted nothing shrinks; once it is, everything idle goes."""
    story = Story(tier=tier)
    story.goes_on(5.0, rate=100.0, cpu=0.05)
    sizes = (story.plan.consumers, story.plan.workers)
    story.machine = MachineReading(cpus=16.0, trusted=False)
    story.goes_on(60.0)
    assert (story.plan.consumers, story.plan.workers) == sizes
    story.machine = MachineReading(cpus=16.0)
    story.goes_on(10.0)
    assert (story.plan.consumers, story.plan.workers) == (1, 0)


def test_events_of_unknown_destination_count() -> None:
    """Events that are not routed yet raise the need of the collectors of the tier that they wait for."""
    law = Autoscaler()
    here, there = CollectorReading(key="here"), CollectorReading(key="there", tier=Tier.PROCESS)
    waiting = {"unrouted": 500, "unrouted_remote": 500}
    plan = law.decide(Readings(now=1.0, collectors=(here, there), machine=MachineReading(cpus=4.0), **waiting))
    assert (plan.consumers, plan.workers) == (1, 4)


def test_events_of_unknown_destination_have_arrived() -> None:
    """Events that wait count as arrivals of their tier, once, also when they go to their collector at last."""
    unrouted, waiting = Unrouted(), {"unrouted": 100, "unrouted_remote": 100}
    estimates = [CollectorEstimate(key, Tier.PROCESS, Tuning()) for key in "ab"]
    assert unrouted.growth(Readings(now=0.0, **waiting), estimates) == {"a": 50.0, "b": 50.0}
    assert unrouted.growth(Readings(now=0.0, **waiting), estimates) == {}
    assert unrouted.growth(Readings(now=0.0), estimates) == {"a": -50.0, "b": -50.0}


def test_the_first_events_do_not_start_a_crowd() -> None:
    """A few events that waited do not stand for all: sixteen cores get two workers each at most."""
    story = Story(ScalingLimits(max_workers=512))
    story.goes_on(0.05, rate=40.0, cpu=0.002, waiting=0.05, queued=2000, running=16)
    story.goes_on(0.05, rate=40.0, cpu=0.002, waiting=0.05, queued=2000, running=16)
    assert story.plan.workers <= 32


def test_events_that_came_during_a_rest_have_not_run_all_the_time() -> None:
    """After ten idle seconds the age of events that have just begun is not ten seconds."""
    story = Story()
    story.goes_on(5.0, rate=10.0, cpu=0.05)
    story.now += 100.0
    story.decide(running=4)
    assert story.law.decide(Readings(now=story.now)).workers <= 4
