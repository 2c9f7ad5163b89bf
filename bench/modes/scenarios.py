"""The scenarios: a function, the values it runs on, the results that must come of them."""

import ast
import json
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .work import call

__all__ = ["SCALING_GROUP", "SCENARIOS", "Scenario", "scenario"]

NOTHING, WAIT, COMPUTE, BOTH, CARRY = "nothing", "wait", "compute", "both", "carry"


@dataclass(frozen=True)
class Scenario:
    """One of them.

    Attributes:
        name: in tables.
        function: a name in `work`.
        kind: nothing, wait, compute, both, or carry (values there and back).
        values: the arguments.
        expected: the results, in the same order.
        work: seconds of CPU time of one call, if that is what it is made of.
        few: how many of the values those take who run few at once, where the work is waiting.

    """

    name: str
    function: str
    kind: str
    values: Sequence[Any]
    expected: Sequence[Any]
    work: float | None = None
    few: int | None = None


def _burning(label: str, seconds: float, number: int) -> Scenario:
    values = [seconds] * number
    return Scenario(f"compute {label}", "burn", COMPUTE, values, values, work=seconds)


def _carrying(label: str, size: int, number: int) -> Scenario:
    values = [bytes([index % 251]) * size for index in range(min(number, 4))]
    values = [values[index % len(values)] for index in range(number)]
    return Scenario(f"carry {label}", "nothing", CARRY, values, values)


@cache
def _sources() -> tuple[str, ...]:
    """Return paths of the standard library's modules, those of middle size, in their order."""
    folder = Path(sysconfig.get_path("stdlib"))
    found = sorted(path for path in folder.glob("*.py") if 10_000 < path.stat().st_size < 60_000)
    return tuple(str(path) for path in found[:60])


def _reading(name: str, function: str) -> Scenario:
    values = _sources()
    return Scenario(name, function, COMPUTE, values, [call(function, value) for value in values])


def _json() -> Scenario:
    texts = []
    for path in _sources()[:40]:
        tree = ast.parse(Path(path).read_bytes())
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        texts.append(json.dumps([{"name": name, "place": place} for place, name in enumerate(names)]))
    return Scenario("JSON", "transcode", COMPUTE, texts, [call("transcode", text) for text in texts])


def _mixed() -> Scenario:
    values = [["wait", 0.01] if index % 2 else ["compute", 0.001] for index in range(200)]
    return Scenario("wait 10 ms or compute 1 ms", "mixed", BOTH, values, values, few=60)


_MAKERS = {
    "no-op": lambda: Scenario("no-op", "nothing", NOTHING, list(range(5000)), list(range(5000))),
    "wait 10 ms": lambda: Scenario("wait 10 ms", "sleep", WAIT, [0.01] * 1000, [0.01] * 1000, few=40),
    "compute 100 us": lambda: _burning("100 us", 100e-6, 1000),
    "compute 1 ms": lambda: _burning("1 ms", 1e-3, 200),
    "compute 10 ms": lambda: _burning("10 ms", 1e-2, 30),
    "wait 10 ms or compute 1 ms": _mixed,
    "parse": lambda: _reading("parse", "parse"),
    "compress": lambda: _reading("compress", "compress"),
    "JSON": _json,
    "carry 100 B": lambda: _carrying("100 B", 100, 2000),
    "carry 10 KB": lambda: _carrying("10 KB", 10_000, 1000),
    "carry 1 MB": lambda: _carrying("1 MB", 1_000_000, 60),
    "carry 50 MB": lambda: _carrying("50 MB", 50_000_000, 4),
}
SCENARIOS = tuple(_MAKERS)
"""Their names."""

SCALING_GROUP = "scaling"
"""The benchmarks that compare numbers of workers."""


@cache
def scenario(name: str) -> Scenario:
    """Return one of them; the first time it is made."""
    return _MAKERS[name]()
