"""The figures: for each, which sides are measured, and what the project promises of the ratios between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.front_end.contest import Contest, Ratio, Side, Unit
from bench.front_end.measurer import Measurer

__all__ = ["FIGURES", "Cast", "Figure", "Options"]

MICROSECONDS = Unit("us/event", 1e6)
MILLISECONDS = Unit("ms", 1e3)

EXISTING = "event-collector 0.2.4"
BARE = "bare asyncio.Queue"
RIVAL = "the other checkout"


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    loop: str
    events: int
    consumers: int
    seconds: float
    settle: float
    figure: str
    """Of what the machine's other programs disturb: "seconds" or "cpu seconds"."""


@dataclass(frozen=True)
class Cast:
    """The measuring processes; those that are None are left out."""

    this: Measurer
    bare: Measurer
    existing: Measurer | None
    rival: Measurer | None


@dataclass(frozen=True)
class Figure:
    """One subcommand."""

    summary: str
    contests: Callable[[Cast, Options], Iterator[Contest]]


PROMISES = {
    # pattern: at least so many times the existing library's events/s, and the bare queue's
    "burst": (6.0, 1.0),
    "one-at-a-time": (6.0, 2.0),
    "senders-64": (3.0, 1.0),
    "senders-1000": (3.0, 1.0),
}


def _pattern(name: str) -> Callable[[Cast, Options], Iterator[Contest]]:
    def contests(cast: Cast, options: Options) -> Iterator[Contest]:
        sides, ratios = [], []
        ask = {"measurement": "pattern", "loop": options.loop, "name": name, "events": options.events,
               "consumers": options.consumers, "autoscale": True, "bare": False}  # fmt: skip
        than_existing, than_bare = PROMISES[name]
        sides.append(Side(BARE, cast.bare, {**ask, "bare": True}))
        for autoscale, how in ((True, "autoscaled"), (False, f"{options.consumers} consumers")):
            this = f"this library, {how}"
            sides.append(Side(this, cast.this, {**ask, "autoscale": autoscale}))
            ratios.append(Ratio(f"{BARE} / {this}", BARE, this, at_least=than_bare))
            for rival, measurer, promise in ((EXISTING, cast.existing, than_existing), (RIVAL, cast.rival, None)):
                if measurer is not None:
                    other = f"{rival}, {how}"
                    sides.append(Side(other, measurer, {**ask, "autoscale": autoscale}))
                    ratios.append(Ratio(f"{other} / this", other, this, at_least=promise))
        yield Contest(f"{name}, {options.events:,} events", options.figure, MICROSECONDS, sides, ratios)

    return contests


ORDERS = {
    "FIFO": ("FIFO", 1, 1.25),
    "LIFO": ("LIFO", 1, 1.25),
    "PRIORITY, 8 priorities": ("PRIORITY", 8, None),
    "PRIORITY, 1,000,000 priorities": ("PRIORITY", 1_000_000, None),
}


def _depth(cast: Cast, options: Options) -> Iterator[Contest]:
    depths = [depth for depth in (1_000, 10_000, 100_000, 1_000_000) if depth <= options.events * 10]
    sides, ratios = [], []
    for order, (queue_type, distinct, promise) in ORDERS.items():
        for depth in depths:
            ask = {"measurement": "depth", "loop": options.loop, "queue_type": queue_type, "count": depth,
                   "distinct": distinct}  # fmt: skip
            name = f"{order}, {depth:,} deep"
            sides.append(Side(name, cast.this, ask))
            if cast.rival is not None:
                sides.append(Side(f"{RIVAL}: {name}", cast.rival, ask))
                ratios.append(Ratio(f"{RIVAL} / this: {name}", f"{RIVAL}: {name}", name))
            if depth > depths[0]:
                shallow = f"{order}, {depths[0]:,} deep"
                ratios.append(Ratio(f"{order}: {depth:,} / {depths[0]:,}", name, shallow, at_most=promise))
            if queue_type == "PRIORITY":
                ratios.append(Ratio(f"{order} / FIFO at {depth:,}", name, f"FIFO, {depth:,} deep", at_most=2.0))
    yield Contest("depth: an event sent and processed", options.figure, MICROSECONDS, sides, ratios)


def _memory(cast: Cast, options: Options) -> Iterator[Contest]:
    ask = {"measurement": "memory", "loop": options.loop, "count": options.events}
    sides, ratios = [Side("this library", cast.this, ask)], []
    for rival, measurer, promise in ((EXISTING, cast.existing, 0.5), (RIVAL, cast.rival, None)):
        if measurer is not None:
            sides.append(Side(rival, measurer, ask))
            ratios.append(Ratio(f"this / {rival}", "this library", rival, at_most=promise))
    title = f"memory of each of {options.events:,} queued events, payload included, value not"
    yield Contest(title, "bytes", Unit("bytes"), sides, ratios)


def _sleepers(cast: Cast, options: Options) -> Iterator[Contest]:
    events = 10_000
    ask = {"measurement": "sleepers", "loop": options.loop, "events": events, "autoscale": True, "bare": False}
    ideal = "a task for each"
    sides, ratios = [Side(ideal, cast.bare, {**ask, "bare": True})], []
    for autoscale, how in ((True, "autoscaled"), (False, f"{events:,} consumers")):
        this = f"this library, {how}"
        sides.append(Side(this, cast.this, {**ask, "autoscale": autoscale}))
        ratios.append(Ratio(f"{this} / {ideal}", this, ideal, at_most=2.0))
        for rival, measurer in ((EXISTING, cast.existing), (RIVAL, cast.rival)):
            if measurer is not None:
                sides.append(Side(f"{rival}, {how}", measurer, {**ask, "autoscale": autoscale}))
                ratios.append(Ratio(f"{rival}, {how} / this", f"{rival}, {how}", this))
    yield Contest("sleepers: 10,000 handlers that sleep 10 ms", "seconds", MILLISECONDS, sides, ratios, ["at once"])


def _turns(cast: Cast, options: Options) -> Iterator[Contest]:
    ask = {"measurement": "turns", "loop": options.loop, "events": 10_000}
    sides = []
    for autoscale in (True, False):
        how = "autoscaled" if autoscale else "10,000 consumers"
        for name, measurer in (("this library", cast.this), (EXISTING, cast.existing), (RIVAL, cast.rival)):
            if measurer is not None:
                sides.append(Side(f"{name}, {how}", measurer, {**ask, "autoscale": autoscale}))
    title = "turns of the loop from the last send until all of 10,000 waiting handlers have begun"
    yield Contest(title, "turns", Unit("turns"), sides, also=["seconds"])


def _lag(cast: Cast, options: Options) -> Iterator[Contest]:
    for flood, events in (("nothing", 0), ("burst", options.events), ("one-at-a-time", options.events),
                          ("senders-1000", options.events), ("busy", options.events // 50)):  # fmt: skip
        ask = {"measurement": "lag", "loop": options.loop, "flood": flood, "events": events, "autoscale": True}
        sides = [Side("this library", cast.this, ask)]
        for rival, measurer in ((EXISTING, cast.existing), (RIVAL, cast.rival)):
            if measurer is not None:
                sides.append(Side(rival, measurer, ask))
        title = f"lag: longest time another task was kept from running, {flood}, {events:,} events; at most 10 ms"
        yield Contest(title, "seconds", MILLISECONDS, sides, also=["runs"])


def _idle(cast: Cast, options: Options) -> Iterator[Contest]:
    ask: dict[str, Any] = {"measurement": "idle", "loop": options.loop, "seconds": options.seconds,
                           "settle": options.settle, "autoscale": True, "bare": False}  # fmt: skip
    sides = [Side("a loop without a queue", cast.bare, {**ask, "bare": True})]
    for name, measurer in (("this library", cast.this), (EXISTING, cast.existing), (RIVAL, cast.rival)):
        if measurer is not None:
            sides.append(Side(f"{name}, autoscaled", measurer, ask))
            sides.append(Side(f"{name}, 64 consumers", measurer, {**ask, "autoscale": False}))
    title = f"idle: CPU time during {options.seconds:g} s, from {options.settle:g} s after the last event on"
    yield Contest(title, "cpu", Unit("ms/s", 1e3), sides, also=["wake-ups"])


def _bulk(cast: Cast, options: Options) -> Iterator[Contest]:
    for measurement, bulk, loops in (
        ("sending", "send_many", ("send", "send_nowait")),
        ("waiting", "as_completed", ("wait", "asyncio.as_completed")),
    ):
        ask = {"measurement": measurement, "loop": options.loop, "events": options.events, "autoscale": True}
        sides = [Side(form, cast.this, {**ask, "form": form}) for form in (bulk, *loops)]
        ratios = [Ratio(f"{bulk} / loop over {form}", bulk, form) for form in loops]
        ratios[0] = Ratio(ratios[0].name, bulk, loops[0], at_most=1.0)
        yield Contest(f"bulk {measurement}, {options.events:,} events", options.figure, MICROSECONDS, sides, ratios)


def _objects(cast: Cast, options: Options) -> Iterator[Contest]:
    for name in ("burst", "one-at-a-time"):
        ask = {"loop": options.loop, "name": name, "events": options.events}
        queue = {**ask, "measurement": "pattern", "consumers": options.consumers, "autoscale": True}
        this, alone = "this library, autoscaled", "its objects alone"
        sides = [
            Side(BARE, cast.bare, {**queue, "bare": True}),
            Side(alone, cast.this, {**ask, "measurement": "objects"}),
            Side(this, cast.this, {**queue, "bare": False}),
        ]
        ratios = [Ratio(f"{BARE} / {alone}", BARE, alone), Ratio(f"{this} / {alone}", this, alone)]
        yield Contest(f"objects, {name}, {options.events:,} events", options.figure, MICROSECONDS, sides, ratios)


FIGURES: dict[str, Figure] = {
    "burst": Figure("all events sent, then all awaited", _pattern("burst")),
    "one-at-a-time": Figure("each result awaited before the next event is sent", _pattern("one-at-a-time")),
    "senders-64": Figure("64 tasks that send and await", _pattern("senders-64")),
    "senders-1000": Figure("1,000 tasks that send and await", _pattern("senders-1000")),
    "depth": Figure("cost of an event when 1,000 to 1,000,000 wait, in each order", _depth),
    "memory": Figure("bytes of a queued event", _memory),
    "sleepers": Figure("10,000 handlers that sleep 10 ms, against as many tasks", _sleepers),
    "turns": Figure("turns of the loop until a burst has its full concurrency", _turns),
    "lag": Figure("longest time a flood keeps other tasks from running", _lag),
    "idle": Figure("CPU time and wake-ups of a queue that has nothing to do", _idle),
    "bulk": Figure("send_many() and as_completed() against the loops they replace", _bulk),
    "objects": Figure("what payloads, events and results cost without any queue", _objects),
}
