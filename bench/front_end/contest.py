"""A contest: its sides measured in turn, round after round, and the ratios between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from bench.front_end.measurer import Measurer

__all__ = ["Bounds", "Contest", "Ratio", "Side", "Spread", "Unit", "hold"]


class Unit(NamedTuple):
    """How a figure is shown: its name, and by what it is multiplied."""

    name: str
    factor: float = 1.0


class Spread(NamedTuple):
    """The median of a figure over all rounds, the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Side:
    """One of those that are compared: who measures it, and what that one is asked for."""

    name: str
    measurer: Measurer
    request: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the project promises of a figure."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool | None:
        """Return whether the promise is kept; None if there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def promise(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"


@dataclass(frozen=True)
class Ratio(Bounds):
    """The figure of one side divided by that of another, and what the project promises of it."""

    name: str
    over: str
    under: str


@dataclass(frozen=True)
class Contest:
    """What is measured of whom, and which ratios count."""

    title: str
    figure: str
    unit: Unit
    sides: Sequence[Side]
    ratios: Sequence[Ratio] = ()
    also: Sequence[str] = ()
    """Names of further figures that are shown as they are."""


def hold(contest: Contest, rounds: int) -> tuple[dict[str, dict[str, list[float]]], list[tuple[Ratio, Spread]]]:
    """Run a contest; return each side's figures, and the ratios, each taken within one round."""
    found: dict[str, dict[str, list[float]]] = {side.name: {} for side in contest.sides}
    for number in range(rounds):
        shift = number % len(contest.sides)
        for side in (*contest.sides[shift:], *contest.sides[:shift]):
            for figure, value in side.measurer.ask(side.request).items():
                found[side.name].setdefault(figure, []).append(value)
    ratios = []
    for ratio in contest.ratios:
        over, under = found[ratio.over][contest.figure], found[ratio.under][contest.figure]
        ratios.append((ratio, Spread.of([a / b if b else float("inf") for a, b in zip(over, under, strict=True)])))
    return found, ratios
