"""The constants of the control law, each with the effect of changing it."""

import msgspec


class Tuning(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Constants of the law, in seconds, bytes and shares. The simulations in bench/ use the defaults."""

    # -- how often
    tick: float = 0.05
    """Seconds between two decisions while there is work. Shorter reacts sooner and uses more of the loop."""
    stall: float = 1.0
    """A longer interval between two readings with work in hand means that this program was stopped, not that no events
    came. Longer lets a stopped program forget the need."""

    # -- estimates
    arrival_memory: float = 10.0
    """Memory of the arrival rate. Longer is more stable and follows drifts later."""
    drift_memory: float = 2.0
    """Memory of the arrival rate after a step, used as long as chance does not explain its difference from the average.
    Longer notices smaller steps, later."""
    express_window: float = 0.25
    """Span in which a burst is recognised before the averages show it."""
    express_events: int = 8
    """Minimum arrivals in that span that count as a burst. Fewer react to chance."""
    express_doubt: float = 4.0
    """Standard deviations above the estimate that count as a burst. Lower reacts to chance."""
    service_memory: float = 50.0
    """Completed events over which the service time is averaged. Fewer follow a changed handler sooner."""
    assumed_service: float = 0.03
    """Assumed service time of the first events. Longer starts with more workers than needed, shorter with fewer."""
    assumed_events: float = 10.0
    """Number of events that are assumed to have taken that long, when the first ones end. More learn later what events
    take, fewer believe the first ones."""
    recent_service_memory: float = 10.0
    """Completed events over which the service time is averaged for placement. Few, so that a changed handler moves at
    once."""
    loop_memory: float = 0.15
    """Memory of the loop's busy share. Shorter moves a collector after a short peak, longer lets it delay the
    others."""
    others_memory: float = 2.0
    """Memory of the CPU use of other programs. Shorter follows their short peaks, longer yields to them later."""

    # -- need
    safety: float = 1.0
    """Spare consumers in square roots of the need. More shortens the tail and asks more of back ends."""
    worker_safety: float = 0.5
    """Spare workers in square roots of the need. More shortens the tail and costs processes."""
    horizon: float = 0.25
    """Seconds in which a backlog should be cleared; for workers, at least their start-up time. Shorter starts workers
    that are ready too late to help, and opens more consumers at once against a back end."""

    # -- caps
    loop_full: float = 0.8
    """Busy share of the loop above which waiting tells nothing of a back end. Higher mistakes a full loop for one."""
    relief: float = 0.25
    """Seconds without a completion while events wait, after which the caps of consumers double. Longer delays events
    that others wait for, and events beside a busy program."""
    memory_margin: float = 0.05
    """Share of the memory limit that always stays free. Less risks that the system kills a worker, more leaves memory
    unused."""
    assumed_memory: int = 512 << 20
    """Assumed bytes of a worker before the first measurement. High, because too low a value ends in an out-of-memory
    kill."""

    worker_memory_span: float = 600.0
    """Seconds for which the largest memory of a worker is remembered. Shorter forgets what a rare job needs, longer
    keeps workers out after a single large job."""

    # -- growing
    worker_step: float = 0.25
    """Share of the process tier from which a change is not small. Less makes more changes by chance."""
    worker_press: float = 3.0
    """Events that wait for each worker, above which small changes follow each other at once. Fewer react to chance,
    more let events wait beside idle cores."""
    worker_grid: float = 1.1
    """Ratio of neighbouring sizes of the process tier. Larger makes fewer changes and keeps more spare workers."""
    consumer_grid: float = 1.25
    """Ratio of neighbouring sizes of the coroutine tier. Larger makes fewer changes and keeps more spare consumers."""
    free_growth: int = 64
    """Consumers that may start at once. Above this number the tier at most doubles within `doubling`."""
    doubling: float = 0.1
    """Maximum seconds between two doublings. Longer protects back ends and delays large bursts."""
    slow_start: float = 1.0
    """Start-up time from which some workers are kept in an idle tier. Shorter keeps processes that could have been
    started in time."""
    warm_share: float = 0.75
    """Maximum share of the CPU cap that is kept warm. More makes the first burst faster and costs memory all the
    time."""
    warm_startup: float = 6.0
    """Start-up time at which the whole cap would be kept warm without `warm_share`. Shorter keeps more warm."""

    # -- shrinking
    idle: float = 1.0
    """Seconds without an event in hand after which the need is zero. Shorter forgets a slow trickle between two
    events."""
    worker_hold: float = 3.0
    """Minimum time for which several workers are kept after their need. Longer saves starts and costs memory."""
    worker_hold_longest: float = 120.0
    """Maximum of that time, for slow starts. Longer keeps workers that may not be needed again."""
    worker_hold_startups: float = 60.0
    """That time in start-up times of a worker, if this is longer. More saves slow starts and costs memory."""
    worker_calm: float = 10.0
    """Minimum time for which a single worker is kept after its need, and in which a change is not followed by a small
    one. Longer makes fewer changes by chance, shorter follows small changes of the load sooner."""
    worker_calm_growth: float = 3.0
    """Factor of that time when a worker is needed again soon after another was given up. Larger learns sooner that a
    need varies by chance, and keeps more workers when a load comes and goes."""
    worker_calm_longest: float = 30.0
    """Maximum of that time. Longer makes fewer changes, and costs memory."""
    worker_pause: float = 5.0
    """Minimum time between two reductions of the process tier. Longer makes fewer changes and keeps more workers."""
    consumer_hold: float = 10.0
    """Time for which a consumer is kept after its need. Longer makes fewer changes; idle consumers cost little."""
    consumer_pause: float = 2.0
    """Minimum time between two reductions of the coroutine tier. Longer makes fewer changes and keeps more
    consumers."""
    consumer_shrink: float = 0.3
    """Minimum reduction of the coroutine tier, as a share of it. Larger makes fewer changes and keeps more
    consumers."""
    worker_shrink: float = 0.1
    """Minimum reduction of the process tier, as a share of it. Larger makes fewer changes and keeps more workers."""

    # -- saturation of back ends
    guard_window: float = 0.1
    """Minimum length of a measurement of waiting times. Shorter detects saturation sooner and mistakes chance for
    it."""
    guard_trial: float = 0.4
    """The same while a cap is set. Longer, because the effect of the cap must be certain."""
    guard_events: int = 20
    """Minimum completions in a measurement. Fewer mistake chance for saturation, more detect it late if events are
    rare."""
    guard_smoothing: float = 100.0
    """Completed events over which the best waiting time is averaged. Fewer mistake a lucky few for the best."""
    guard_memory: float = 60.0
    """Time for which the best waiting time and the best throughput are remembered. Longer expects the former
    performance of a back end that has become slower."""
    guard_tolerance: float = 1.5
    """Ratio of waiting time to the best one that indicates saturation. Lower reacts to chance, higher overloads a back
    end."""
    guard_keeping_up: float = 0.9
    """Ratio of completions to arrivals below which events pile up. Higher mistakes chance for a backlog."""
    guard_soon: int = 2
    """Suspicious measurements before a cap if events pile up. Fewer cap after a moment of slowness."""
    guard_late: int = 20
    """Suspicious measurements before a cap if events do not pile up. More, because then a cap is likely to harm."""
    guard_sudden: float = 3.0
    """Ratio of waiting time to the best one above which a cap waits until such events can have ended. A sudden rise is
    more often due to a slow back end than to concurrency. Lower reacts later to real saturation."""
    guard_watch: float = 1.0
    """Maximum length of that wait. Longer bridges worse outages, and reacts later to real saturation."""
    guard_settle: float = 2.0
    """Minimum length of a trial of a cap, in waiting times of the events. Shorter judges events that began before
    it."""
    guard_effect: float = 0.9
    """Ratio of waiting time with a lower cap to that before it, above which the cap has no effect. Lower removes caps
    that help a little."""
    guard_gain: float = 1.4
    """Ratio of throughput with a doubled cap to that before it, from which the doubled cap is kept. The maximum is 2.
    Higher keeps a cap on a back end that has only become slower."""
    guard_retry: float = 10.0
    """Minimum time between two doublings on trial. Shorter costs throughput in a saturated back end."""
    guard_near: float = 1.15
    """Ratio of waiting time to the best one up to which the cap is raised. Higher climbs faster, and beyond the
    knee."""
    guard_unbound: float = 10.0
    """Time for which a cap without an effect stays. Longer keeps it for the next rush, even if the back end has grown
    meanwhile."""
    guard_least: float = 0.001
    """Waiting times below this are ignored as noise of the loop. Lower caps collectors that do not wait for a back
    end."""

    # -- placement
    to_workers_events: int = 10
    """Minimum events before a collector moves to the workers. Fewer decide by chance, more block the loop for
    longer."""
    to_workers_cpu: float = 0.005
    """Minimum CPU time per event of a collector that moves to the workers. Lower moves events that cost more to send
    than to run."""
    to_workers_share: float = 0.5
    """Minimum share of CPU time in its service time. Lower moves events that mostly wait, one in each process."""
    moved_waiting: float = 5.0
    """Maximum waiting of an event in its CPU time, assumed of a collector that moves to the workers. Higher starts a
    crowd for one that waited for a busy loop, lower starts the workers of one that does wait in several steps."""
    hot_loop: float = 0.7
    """Busy share of the loop above which its heaviest collector may leave. Lower moves it earlier, also after a short
    rush."""
    hot_cpu: float = 0.002
    """Minimum CPU time per event of a collector that leaves a hot loop. Lower moves events that cost about as much to
    send as to run."""
    to_loop_events: int = 50
    """Minimum events before a collector moves back to the loop. Fewer decide by chance, and a wrong move blocks the
    loop."""
    to_loop_cpu: float = 0.002
    """Maximum CPU time per event of a collector that moves to the loop. More delays the others for longer."""
    to_loop_share: float = 0.1
    """Maximum share of CPU time in its service time. Higher moves back events that compute as much as they wait."""
    to_loop_busy: float = 0.5
    """Maximum busy share of the loop after a move to it. Higher may require a move back."""
