"""A discrete-event simulation of the two tiers, to compare scaling laws under 54 workloads.

    python -m bench.autoscaler --help

What is assumed, so that its figures can be judged:

- The host shares its cores equally among all runnable threads, each on at most one core; a quota is shared equally
  among the program's own threads. Switching costs nothing, caches do not exist.
- The event loop is one thread that runs one step at a time, first come, first served. Each event costs it 20 us
  besides its handler's own CPU. Laws are asked on the loop too, every 50 ms: a decision takes 100 us of it and 1 us for
  each collector, and waits its turn behind the handlers. Events begin for 2 ms in a turn of the loop, as in real
  queues.
- Laws are asked by the `ControlLoop` of real queues, and its plans are followed by the same code, with real permits and
  counters. Simulated are the instruments: the loop, the machine, samples of steps, workers. Workers hold events in
  advance, and events that wait in a queue with several collectors have none yet.
- A queue with worker processes has one that is ready when the first event comes, as real queues have.
- An event runs CPU, then waits at its back end, then runs CPU again, half before and half after; an event that never
  waits runs in one piece. Costs are drawn before any law sees them and are the same for every law.
- A back end serves up to its capacity at full speed. Beyond it the events there share its speed, which falls with
  their number.
- A worker takes CPU time and then a latency to start, and holds half of its memory meanwhile. When the memory in use
  exceeds the limit, a worker is killed and its event is lost. A worker that is to go finishes its event first.
- Samples of CPU time carry an error of 5% an event, and the machine's values are up to two seconds old, those of memory
  included.
- Throughput counts what ended before the end of the run. The latency of an event that had not ended is its age then.
- The oracle knows all costs, limits and knees, places collectors where they belong, and starts workers and consumers
  in no time and for nothing. It runs every event at once up to the best concurrency, and lets a place go that
  has not been needed for a quarter of a second.
- Worker-seconds add up worker processes, whether they are used or not, from the decision to start them. Consumers that
  have nothing to do cost nothing.

One of these choices moves the figures of this library, and was made after its first results were seen:

- How long the oracle keeps an idle place decides what worker-seconds are measured against. A shorter time makes
  ours dearer.

The law's constants were chosen with the eighteen workloads in sight, seeds 1 to 3. Results for other seeds say more
about luck than about other workloads. So there are fifteen more (`unseen`), on machines of other sizes, that nothing
was chosen with but `guard_sudden` and `guard_watch`, for "outage of a back end". Ten more (`troubles`) are some in
which what stands between a law and the pools failed once. Eleven (`rarities`) were written after the law: they show
what some of its rules are for, which no other workload needs. The law is worst against the oracle where

- workers start slowly into a full load ("deploy with a cold start": the oracle has its workers for nothing),
- a collector that turns to computing is more than one loop can carry until it is moved ("now CPU, now IO"), and
- the load comes back just after workers were given up ("on and off every 18 s").

Workloads, costs and noise are the same for all laws; the opponents were not tuned.
"""
