"""Generators of random numbers in all the places that a module can have them, for workers to draw from."""

import os
import random
from collections.abc import Callable

from event_collector import worker_number

rng = random.Random()
seeded = random.Random(42)
system = random.SystemRandom()
table = {"one": [random.Random()]}


class Sampler:
    """A class with a generator, and instances with one of their own."""

    rng = random.Random()

    def __init__(self) -> None:
        self.own = random.Random()


class Dice(random.Random):
    """A subclass with a seed method of its own."""

    def seed(self, a: object = None, version: int = 2) -> None:  # type: ignore[override]
        super().seed(repr(a), version)


def closure() -> Callable[[], float]:
    """Return a function that draws from a generator which nothing else knows."""
    hidden = random.Random()
    return hidden.random


sampler = Sampler()
dice = Dice()
hidden = closure()
first: list[float] = []


def draw(_: int) -> tuple[int | None, int, list[float]]:
    """Return the number of the worker, its process id, and the first numbers that it has drawn."""
    if not first:
        first.extend(one.random() for one in (random, rng, seeded, table["one"][0], Sampler.rng, sampler.own, dice))
        first.append(hidden())
    return worker_number(), os.getpid(), first
