"""The figures: for each, who is measured, and what the project promises of it."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.front_end.contest import Bounds
from bench.process_tier.contestants import Queue, facade, shallow_dispatch, standard_library
from bench.process_tier.floors import Pipes, futures_alone
from bench.process_tier.handler import VALUE, spending
from bench.process_tier.measurement import Sample, bare, burst, flow, idle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUEUE, EXECUTOR, STDLIB, BARE = "queue", "our executor", "ProcessPoolExecutor", "bare processes"
PIPES, FUTURES = "pipes alone", "futures alone"


@dataclass(frozen=True)
class Bound(Bounds):
    """A figure of one side, alone or divided by that of another, and its bound."""

    figure: str
    side: str
    against: str | None = None
    unit: str = ""
    factor: float = 1.0

    def value(self, samples: dict[str, Sample]) -> float:
        own = samples[self.side][self.figure] * self.factor
        if self.against is None:
            return own
        other = samples[self.against][self.figure] * self.factor
        return own / other if other else float("inf")

    def __str__(self) -> str:
        versus = f" / {self.against}'s" if self.against else f", {self.unit}" if self.unit else ""
        return f"{self.side}: {self.figure}{versus}"


@dataclass(frozen=True)
class Contest:
    """Sides, measured in turn, and the bounds of what they show."""

    title: str
    sides: dict[str, Callable[[], Sample]]
    bounds: list[Bound] = field(default_factory=list)


def throughput(scale: float) -> Iterator[Contest]:
    """Events a second, sent as fast as they are taken, every result awaited."""
    few = [VALUE] * max(100, int(5_000 * scale))
    many = [VALUE] * max(1000, int(50_000 * scale))
    yield Contest(
        "no work in the handler",
        {
            QUEUE: lambda: burst(Queue, many),
            EXECUTOR: lambda: burst(facade, many[: len(many) // 2]),
            STDLIB: lambda: burst(standard_library, few),
        },
        [Bound("rate", QUEUE, STDLIB, at_least=20), Bound("rate", EXECUTOR, STDLIB, at_least=6)],
    )
    for seconds, count, bounds in (
        (100e-6, 15_000, [Bound("rate", QUEUE, STDLIB, at_least=3.5), Bound("rate", QUEUE, BARE, at_least=0.85)]),
        (1e-3, 3_000, [Bound("rate", QUEUE, STDLIB), Bound("rate", QUEUE, BARE, at_least=0.95)]),
    ):
        values = [spending(seconds)] * max(100, int(count * scale))

        def side(make: Any, values: list[Any] = values) -> Callable[[], Sample]:
            return lambda: burst(make, values)

        sides = {QUEUE: side(Queue), EXECUTOR: side(facade), STDLIB: side(standard_library)}
        sides[BARE] = lambda seconds=seconds: bare(seconds)  # type: ignore[misc]
        yield Contest(f"{seconds * 1e6:g} us of work", sides, [*bounds, Bound("rate", EXECUTOR, BARE)])


def latency(scale: float) -> Iterator[Contest]:
    """Time of an event when it is the only one, and what an event costs the parent when there are a thousand."""
    values = [VALUE] * max(200, int(3_000 * scale))
    yield Contest(
        "one event in flight, no work",
        {
            QUEUE: lambda: flow(Queue, values, 1),
            EXECUTOR: lambda: flow(facade, values, 1),
            STDLIB: lambda: flow(standard_library, values, 1),
        },
        [
            Bound("median", QUEUE, STDLIB, at_most=0.3),
            Bound("p99", QUEUE, STDLIB, at_most=0.5),
            Bound("median", EXECUTOR, STDLIB),
            Bound("median", QUEUE, unit="us", factor=1e6),
        ],
    )
    many = [VALUE] * max(2000, int(50_000 * scale))
    yield Contest(
        "1000 events in flight, no work",
        {QUEUE: lambda: flow(Queue, many, 1000)},
        [Bound("parent", QUEUE, at_most=10, unit="us of CPU an event", factor=1e6)],
    )


def mixed(scale: float) -> Iterator[Contest]:
    """99% of 100 us and 1% of 100 ms, 64 in flight, against dispatch where none waits behind another."""
    count = max(200, int(4_000 * scale))
    seconds = [0.1 if number % 100 == 0 else 100e-6 for number in range(count)]
    random.Random(7).shuffle(seconds)
    values = [spending(each) for each in seconds]

    def shallow() -> Sample:
        with shallow_dispatch():
            return flow(Queue, values, 64)

    yield Contest(
        "99% of 100 us, 1% of 100 ms, 64 in flight",
        {"credit as it is": lambda: flow(Queue, values, 64), "credit of 1": shallow},
        [
            Bound("rate", "credit as it is", "credit of 1", at_least=0.9),
            Bound("median", "credit as it is", "credit of 1", at_most=2.0),
            Bound("p99", "credit as it is", "credit of 1"),
        ],
    )


def large(scale: float) -> Iterator[Contest]:
    """Bytes there and back."""
    for size, count, ratio in (
        (100_000, 400, 3.0), (1_000_000, 100, 2.0), (10_000_000, 20, 2.0), (50_000_000, 6, 2.0),
    ):  # fmt: skip
        values = [bytes(size)] * max(4, int(count * scale))

        def side(make: Any, values: list[Any] = values) -> Callable[[], Sample]:
            return lambda: flow(make, values, 2)

        yield Contest(
            f"{size:,} bytes there and back, 2 in flight",
            {QUEUE: side(Queue), EXECUTOR: side(facade), STDLIB: side(standard_library)},
            [
                Bound("rate", QUEUE, STDLIB, at_least=ratio),
                Bound("rate", EXECUTOR, STDLIB),
                Bound("lag", QUEUE, at_most=20, unit="ms, the loop's worst", factor=1e3),
                Bound("rate", QUEUE, unit="MB/s each way", factor=size / 1e6),
            ],
        )


def cold(scale: float) -> Iterator[Contest]:
    """Time from a warm interpreter to the first result of a pool of two, each try in a fresh interpreter."""

    def side(who: str) -> Callable[[], Sample]:
        command = [sys.executable, "-m", __package__, "--first-result", who]
        return lambda: {
            "first result": float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        }

    yield Contest(
        "the first result of a pool of two",
        {QUEUE: side("queue"), STDLIB: side("stdlib")},
        [Bound("first result", QUEUE, STDLIB, at_most=0.5), Bound("first result", QUEUE, unit="ms", factor=1e3)],
    )


def resting(scale: float) -> Iterator[Contest]:
    """CPU time and wake-ups of a pool of two with nothing to do, and the memory that only a worker uses (USS)."""
    seconds = max(1.0, 5.0 * scale)
    yield Contest(
        f"{seconds:g} seconds of idleness, after 1000 events",
        {QUEUE: lambda: idle(Queue, [VALUE] * 10_000, seconds)},
        [
            Bound("cpu", QUEUE, at_most=0.01, unit="of one processor, all processes"),
            Bound("wake-ups", QUEUE, unit="a second"),
            Bound("uss", QUEUE, unit="MB of a worker", factor=1e-6),
        ],
    )


def floors(scale: float) -> Iterator[Contest]:
    """What the two interfaces cost with next to nothing behind them: how far the bounds are from what can be."""
    few, many = [VALUE] * max(100, int(5_000 * scale)), [VALUE] * max(1000, int(50_000 * scale))
    yield Contest(
        "no work, next to nothing behind the interface",
        {
            PIPES: lambda: burst(Pipes, many),
            FUTURES: lambda: burst(futures_alone, many[: len(many) // 2]),
            STDLIB: lambda: burst(standard_library, few),
        },
        [Bound("rate", PIPES, STDLIB), Bound("rate", FUTURES, STDLIB)],
    )
    for seconds, count in ((100e-6, 15_000), (1e-3, 3_000)):
        values = [spending(seconds)] * max(100, int(count * scale))
        sides: dict[str, Callable[[], Sample]] = {
            PIPES: lambda values=values: burst(Pipes, values),  # type: ignore[misc]
            BARE: lambda seconds=seconds: bare(seconds),  # type: ignore[misc]
        }
        yield Contest(f"{seconds * 1e6:g} us of work, next to nothing else", sides, [Bound("rate", PIPES, BARE)])
    yield Contest(
        "1000 events in flight, no work, next to nothing behind the interface",
        {PIPES: lambda: flow(Pipes, many, 1000)},
        [Bound("parent", PIPES, unit="us of CPU an event", factor=1e6)],
    )


FIGURES: dict[str, Callable[[float], Iterator[Contest]]] = {
    "throughput": throughput,
    "latency": latency,
    "mixed": mixed,
    "large": large,
    "cold": cold,
    "idle": resting,
    "floors": floors,
}
