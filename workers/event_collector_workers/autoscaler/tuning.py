"""The constants of the control law, each with what is gained and lost by changing it."""

import msgspec


class Tuning(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Constants of the law, in seconds, bytes and shares; the simulations in bench/ ran with the defaults."""

    # -- how often
    tick: float = 0.05
    """Between two decisions while there is work. Shorter reacts sooner and costs more of the loop."""
    stall: float = 1.0
    """A longer silence with work in hand means that this program was stopped, not that no events came. Longer
    lets a stopped program forget what it needs."""

    # -- estimates
    fast: float = 1.0
    """Memory of the quick arrival rate. Shorter follows steps sooner and takes noise for steps."""
    slow: float = 10.0
    """Memory of the calm arrival rate. Longer is calmer, and later with slow drifts."""
    doubt: float = 2.5
    """Standard deviations between the two rates before the quick one is believed. Higher is calmer and later."""
    express_window: float = 0.25
    """Span in which a burst is recognised before the averages show it."""
    express_events: int = 8
    """Fewest arrivals in that span that may count as a burst. Fewer would react to chance."""
    express_doubt: float = 4.0
    """Standard deviations above the estimate that make a burst. Lower reacts to chance."""
    service_memory: float = 50.0
    """Completed events the service time is averaged over. Fewer follow a changed handler sooner."""
    assumed_service: float = 0.03
    """Service time of a handler that has not finished anything yet. Longer starts with more workers than needed,
    shorter with fewer."""
    recent_service_memory: float = 10.0
    """The same for the question where a collector runs: there a changed handler must be seen at once."""
    loop_memory: float = 1.0
    """Memory of the loop's busy share, where it is a part of the CPU in use. Longer is calmer and later."""
    recent_loop_memory: float = 0.25
    """The same for the question whether a collector has to leave the loop. Shorter moves one for a moment's
    work, longer lets it hold up the others."""
    present_loop_memory: float = 0.05
    """The same for the question whether the loop can take more events just now. Longer gives more work to a loop
    that is full already."""
    others_memory: float = 2.0
    """Memory of the CPU that other programs use. Shorter follows each of their moments, longer leaves them no
    room for as long."""

    # -- need
    worker_safety: float = 1.0
    """Spare workers in square roots of the need. More shortens the tail and costs processes."""
    consumer_safety: float = 2.0
    """Spare consumers in square roots of the need. They cost little."""
    worker_horizon: float = 0.25
    """Seconds in which a backlog of process events should be gone; never less than the start-up of a worker.
    Shorter starts workers that come too late to help."""
    consumer_horizon: float = 0.25
    """Seconds in which a backlog of coroutine events should be gone. Shorter opens more at once against a back
    end."""

    # -- caps
    loop_full: float = 0.8
    """Busy share of the loop above which more consumers cannot help. Lower limits a loop that could do more."""
    loop_capacity: float = 0.95
    """Busy share the loop is planned to carry. Higher leaves nothing for the program's other tasks."""
    relief: float = 0.25
    """Time in which nothing has ended while events wait, after which the caps of consumers are doubled. Longer keeps
    events that wait for each other, or beside a busy program, from beginning."""
    memory_margin: float = 0.05
    """Share of the memory limit that is never planned away. Less risks that the system kills a worker, more
    leaves memory unused."""
    assumed_memory: int = 512 << 20
    """Bytes of a worker before one was measured. High, since guessing low is paid for with an OOM kill."""

    # -- growing
    worker_step: float = 0.1
    """Smallest change of the process tier, as a share of it, unless events are waiting."""
    worker_grid: float = 1.1
    """Ratio of neighbouring sizes of the process tier. Coarser makes fewer changes and keeps more spare."""
    consumer_grid: float = 1.25
    """Ratio of neighbouring sizes of the coroutine tier. Coarser makes fewer changes and keeps more spare."""
    free_growth: int = 64
    """Consumers that may start at once; beyond this the tier at most doubles within `doubling`."""
    doubling: float = 0.1
    """Longest time between two doublings. Longer protects back ends and delays large bursts."""
    slow_start: float = 1.0
    """Start-up time from which some workers are kept although nothing happens. Shorter keeps processes that
    could have been started in time."""
    warm_share: float = 0.5
    """Largest share of the CPU cap that is kept warm. More makes the first burst faster and costs memory all the
    time."""
    warm_startup: float = 10.0
    """Start-up time that would keep the whole cap warm, were it not for `warm_share`. Shorter keeps more warm."""

    # -- shrinking
    idle: float = 1.0
    """Seconds without an event in hand after which the need counts as zero. Shorter forgets a slow trickle
    between two events."""
    worker_hold: float = 15.0
    """Shortest time a worker is kept after its need. Longer saves starts and costs memory."""
    worker_hold_longest: float = 120.0
    """Longest such time, however slow the start is. Longer keeps workers that nobody may need again."""
    worker_hold_startups: float = 60.0
    """Such time in start-up times of a worker, where that is longer. More saves slow starts and costs memory."""
    worker_pause: float = 5.0
    """Between two reductions of the process tier. Longer makes fewer changes and keeps more."""
    consumer_hold: float = 10.0
    """Time a consumer is kept after its need. Longer makes fewer changes; consumers that have nothing to do cost
    little."""
    consumer_pause: float = 2.0
    """Between two reductions of the coroutine tier. Longer makes fewer changes and keeps more."""
    consumer_shrink: float = 0.3
    """Smallest reduction of the coroutine tier, as a share of it. Larger makes fewer changes and keeps more."""
    worker_shrink: float = 0.1
    """Smallest reduction of the process tier, as a share of it. Larger makes fewer changes and keeps more."""
    cpu_hold: float = 2.0
    """How long the CPU budget must be smaller before workers are taken away, and between two such reductions.
    Shorter follows the moments of other programs."""

    # -- saturation of back ends
    guard_window: float = 0.1
    """Shortest measurement of waiting times. Shorter sees saturation sooner and takes chance for it."""
    guard_trial: float = 0.4
    """The same while a cap holds: whether it is right must be seen more surely than soon."""
    guard_events: int = 20
    """Fewest completions in a measurement. Fewer take chance for saturation, more see it late where events are
    rare."""
    guard_smoothing: float = 100.0
    """Completed events the best waiting time is averaged over. Fewer would take lucky ones for the best."""
    guard_memory: float = 60.0
    """How long the best waiting time and the best throughput are remembered. Longer holds a back end to what it
    could do once."""
    guard_tolerance: float = 1.5
    """Waiting time over the best one that looks like saturation. Lower suspects chance, higher lets a back end
    suffer."""
    guard_patience: float = 6.0
    """The same at most, after caps have turned out not to help. Higher gives up on a back end whose speed
    changes often."""
    guard_keeping_up: float = 0.9
    """Completions over arrivals below which events pile up. Higher takes chance for a pile."""
    guard_soon: int = 2
    """Suspicious measurements before a cap when events pile up. Fewer cap at a moment's slowness."""
    guard_late: int = 20
    """The same when they do not: then a cap more likely harms than helps."""
    guard_sudden: float = 3.0
    """Waiting time over the best one from which on a cap first waits until such events can have ended: more often a
    back end that is slow than a crowd. Lower lets a real crowd grow for longer."""
    guard_watch: float = 1.0
    """Longest such wait. Longer sees through worse outages, and lets a crowd grow for longer that is to blame."""
    guard_settle: float = 2.0
    """Length of such a trial at least, in waiting times of the events. Shorter judges events that began before
    it."""
    guard_effect: float = 0.9
    """Waiting time with a lower cap, over that before it, above which the cap is no help. Lower lifts caps that
    help a little."""
    guard_gain: float = 1.4
    """Throughput that twice the cap must bring to be kept, over that before. Perfect would be 2; higher keeps a
    cap on a back end that is only slower."""
    guard_retry: float = 10.0
    """Between two such trials: in a saturated back end each of them costs throughput."""
    guard_near: float = 1.15
    """Waiting time over the best one up to which more is tried. Higher climbs faster, and over the knee."""
    guard_unbound: float = 10.0
    """How long a cap stays that no longer binds. Longer finds it in place at the next rush, also when the back
    end has grown meanwhile."""
    guard_least: float = 0.001
    """Shorter waiting is not looked at: it is the loop's own noise. Lower caps collectors that do not wait for
    anything."""

    # -- placement
    to_workers_events: int = 10
    """Fewest events before a collector is moved to the workers. Fewer judge by chance, more hold up the loop for
    longer."""
    to_workers_cpu: float = 0.005
    """Least CPU time per event that is worth a trip to a worker. Lower moves what costs more to send than to
    run."""
    to_workers_share: float = 0.5
    """Least share of the service time that is CPU. Lower moves what mostly waits, one event in each process."""
    to_workers_pause: float = 5.0
    """Between two moves to the workers. Shorter moves one collector on figures that another has spoilt."""
    hot_loop: float = 0.7
    """Busy share of the loop above which its heaviest collector may leave. Lower moves earlier, also for a short
    rush."""
    hot_cpu: float = 0.002
    """Least CPU time per event of a collector that leaves a hot loop. Lower moves what costs about as much to
    send as to run."""
    to_loop_events: int = 50
    """Fewest events before a collector is moved back to the loop. Fewer judge by chance, and there that holds up
    everybody."""
    to_loop_cpu: float = 0.002
    """Most CPU time per event the loop will take. More holds up the others for longer."""
    to_loop_share: float = 0.1
    """Most of the service time that may be CPU. Higher moves back what computes as much as it waits."""
    to_loop_busy: float = 0.5
    """Busy share of the loop that a move to it may lead to. Higher may have to move it away again."""
    to_loop_pause: float = 30.0
    """Between two moves to the loop. Longer, since a wrong one blocks every other handler there."""
