"""The guard: ratios between this library and an opponent, in one run, against the least that they may be."""

import tomllib
from pathlib import Path

import msgspec

from bench.reporting.records import Run, ratio

__all__ = ["BOUNDS", "Bound", "read_bounds", "verdicts"]

BOUNDS = Path(__file__).parent.parent / "bounds.toml"


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least ratio of two throughputs."""

    scenario: str
    ours: str
    opponent: str
    at_least: float


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bound: list[Bound]


def read_bounds(path: Path = BOUNDS) -> list[Bound]:
    """Return the bounds of a file."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).bound


def verdicts(run: Run, bounds: list[Bound]) -> list[tuple[Bound, float | None, bool]]:
    """Return for each bound the ratio, None if one of the two did not run, and whether it holds.

    It is broken when even the upper end of the interval is below: noise alone does not break it.
    """
    found: list[tuple[Bound, float | None, bool]] = []
    for bound in bounds:
        mine, other = run.find(bound.scenario, bound.ours), run.find(bound.scenario, bound.opponent)
        if mine is None or other is None:
            found.append((bound, None, True))
            continue
        seen = ratio(mine, other)
        found.append((bound, seen.median, seen.high >= bound.at_least))
    return found
