"""The model: messages arrive at a broker, programs on many hosts pull them, handle and acknowledge them.

    arrivals --> broker (one line, a fixed time for each message and request) --network--> host: waits, slot --> done

What it assumes:

- Messages arrive at random times, independent of each other (a Poisson process), at a constant rate.
- The broker does one thing at a time, in the order in which it is asked: to take a message in, to take a request, to
  deliver, to take an acknowledgement. Each takes a fixed time. What waits is delivered in turn to the requests that
  wait, one message each.
- The network takes the same time for everything, and loses nothing. Nothing fails; hosts are equal.
- A host has so many slots. A handler takes a time that is exponentially distributed around its mean, or always the
  same. The program's own work for a message is done one message at a time.
- A host asks as a feed does: for as many messages as its pace lets wait, when less than half of these are on their way.
  The pace, and the rule, are those of `event_collector.sources`.

What it leaves out: batches of bytes, disks, replicas, retries, redelivery, and other users of any of these.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from event_collector.sources.pace import Pace

__all__ = ["Outcome", "Setting", "simulate"]


@dataclass(frozen=True)
class Setting:
    """What is simulated. Times are in seconds."""

    hosts: int
    rate: float
    """Messages a second, in all."""
    handler: float
    """The mean time of a handler."""
    slots: int
    """Handlers that run at once on one host."""
    seconds: float
    """How long messages arrive."""
    overhead: float = 70e-6
    """What the program itself does for a message, one at a time. This and the next are as `bench.brokers` measured."""
    take_in: float = 50e-6
    """What the broker does for a message that is published."""
    request: float = 10e-6
    """For a request."""
    deliver: float = 7e-6
    """For a message that it delivers."""
    acknowledge: float = 6e-6
    """For one that is acknowledged."""
    network: float = 100e-6
    """One way."""
    constant: bool = False
    """Whether each handler takes the mean time."""
    max_in_flight: int = 1000
    seed: int = 1


@dataclass
class Outcome:
    """What came of it."""

    times: list[float] = field(default_factory=list)
    """From the arrival of a message to the end of its handler, in the order of the ends."""
    finished: int = 0
    ended: float = 0.0
    """When the last handler ended."""
    broker_busy: float = 0.0
    """The share of the time for which the broker was busy while messages arrived."""
    hosts_busy: float = 0.0
    """The mean share of slots that were busy then."""
    most_held: int = 0
    """The most messages that one host had at once."""

    def percentile(self, share: float) -> float:
        """Return a percentile of the times."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class _Host:
    """One program."""

    def __init__(self) -> None:
        self.waiting: deque[float] = deque()  # when the messages that wait arrived at the broker
        self.running = 0
        self.asked = 0  # messages that are on their way, or asked for
        self.free_at = 0.0  # when the program itself has time again
        self.pace = Pace()


class _Simulation:
    """One run. Events are calls, in the order of their times."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.outcome = setting, Outcome()
        self.chance = random.Random(setting.seed)
        self.calls: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.order = itertools.count()
        self.now = self.broker_free = self.broker_work = self.slot_work = 0.0
        self.stored: deque[float] = deque()
        self.requests: deque[list[Any]] = deque()  # of a host, and how many it wants still
        self.hosts = [_Host() for _ in range(setting.hosts)]

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self.calls, (when, next(self.order), call, arguments))

    def run(self) -> Outcome:
        setting, outcome = self.setting, self.outcome
        for host in self.hosts:
            self.ask(host)
        self.at(self.chance.expovariate(setting.rate), self.arrive)
        while self.calls:
            self.now, _, call, arguments = heapq.heappop(self.calls)
            call(*arguments)
        outcome.broker_busy = self.broker_work / setting.seconds
        outcome.hosts_busy = self.slot_work / (setting.seconds * setting.hosts * setting.slots)
        return outcome

    def until_the_last_arrival(self, seconds: float, begun: float) -> float:
        """Return how much of a piece of work falls into the time for which messages arrive."""
        return min(seconds, max(0.0, self.setting.seconds - begun))

    # The broker

    def broker_does(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Have the broker do something when it has done what it was asked before."""
        self.broker_work += self.until_the_last_arrival(seconds, max(self.broker_free, self.now))
        self.broker_free = max(self.broker_free, self.now) + seconds
        self.at(self.broker_free, call, *arguments)

    def arrive(self) -> None:
        setting = self.setting
        self.broker_does(setting.take_in, self.store, self.now)
        following = self.now + self.chance.expovariate(setting.rate)
        if following < setting.seconds:
            self.at(following, self.arrive)

    def store(self, arrived: float) -> None:
        self.stored.append(arrived)
        self.match()

    def requested(self, host: _Host, number: int) -> None:
        self.requests.append([host, number])
        self.match()

    def match(self) -> None:
        """Deliver what there is to those who want it, in turn."""
        while self.stored and self.requests:
            request = self.requests.popleft()
            host, _ = request
            request[1] -= 1
            if request[1]:
                self.requests.append(request)
            arrived = self.stored.popleft()
            self.broker_does(self.setting.deliver, self.deliver, host, arrived)

    def deliver(self, host: _Host, arrived: float) -> None:
        self.at(self.now + self.setting.network, self.receive, host, arrived)

    # A host

    def receive(self, host: _Host, arrived: float) -> None:
        host.asked -= 1
        host.free_at = max(host.free_at, self.now) + self.setting.overhead
        self.at(host.free_at, self.take, host, arrived)

    def take(self, host: _Host, arrived: float) -> None:
        host.waiting.append(arrived)
        self.outcome.most_held = max(self.outcome.most_held, len(host.waiting) + host.running)
        self.begin(host)

    def begin(self, host: _Host) -> None:
        setting = self.setting
        while host.waiting and host.running < setting.slots:
            host.running += 1
            taken = setting.handler if setting.constant else self.chance.expovariate(1.0 / setting.handler)
            self.slot_work += self.until_the_last_arrival(taken, self.now)
            self.at(self.now + taken, self.finish, host, host.waiting.popleft())
        self.ask(host)

    def finish(self, host: _Host, arrived: float) -> None:
        host.running -= 1
        self.outcome.finished += 1
        self.outcome.times.append(self.now - arrived)
        self.outcome.ended = self.now
        host.pace.note(1, self.now)
        self.at(self.now + self.setting.network, self.broker_does, self.setting.acknowledge, _nothing)
        self.begin(host)

    def ask(self, host: _Host) -> None:
        """Ask for more, as a feed does."""
        room = self.setting.max_in_flight - len(host.waiting) - host.running
        wanted = min(room, host.pace.ahead(self.now, host.running) - len(host.waiting))
        if 2 * host.asked >= wanted:
            return
        more, host.asked = wanted - host.asked, wanted
        self.at(self.now + self.setting.network, self.broker_does, self.setting.request, self.requested, host, more)


def _nothing() -> None:
    """Nothing follows."""


def simulate(setting: Setting) -> Outcome:
    """Return what comes of a setting."""
    return _Simulation(setting).run()
