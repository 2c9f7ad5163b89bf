"""Generators of NumPy, for workers to draw from, and the threads of its linear algebra."""

import os
from pathlib import Path

import numpy as np

from event_collector import worker_number

generator = np.random.default_rng()
seeded = np.random.default_rng(42)
legacy = np.random.RandomState(42)
legacy.normal()  # keeps the second number of a pair
sequence = np.random.SeedSequence(42)
bits = [np.random.Philox(42), np.random.SFC64()]
first: list[float] = []


def draw(_: int) -> tuple[int | None, int, list[float]]:
    """Return the number of the worker, its process id, and the first numbers that it has drawn."""
    if not first:
        first.extend(float(one.normal()) for one in (generator, seeded, legacy, np.random))
        first.extend(float(np.random.Generator(one).random()) for one in bits)
        (child,) = sequence.spawn(1)
        (spawned,) = generator.spawn(1)
        first.extend((float(child.generate_state(1)[0]), float(spawned.random())))
    return worker_number(), os.getpid(), first


def multiply(size: int) -> tuple[int, int]:
    """Return the threads of this process after a multiplication, and the process that started it."""
    square = np.ones((size, size))
    square @ square
    return len(list(Path("/proc/self/task").iterdir())), os.getppid()
