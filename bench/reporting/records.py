"""What pytest-benchmark has written of a run, as rows."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.modes.scenarios import SCALING_GROUP
from event_collector.benchmark.estimate import Estimate, estimate, paired_ratio

__all__ = ["Machine", "Result", "Run", "ratio", "read"]


class Result(msgspec.Struct, frozen=True):
    """One contestant in one scenario. Times in seconds for each event, memory in bytes."""

    scenario: str
    contestant: str
    workers: int
    cpus: int
    scaling: bool
    """Whether it belongs to the comparison of numbers of workers."""
    events: int
    rate: Estimate
    rates: list[float]
    latencies: list[float]
    """The percentiles 0 to 100 of the time of one event after the other."""
    own_cpu: float
    worker_cpu: float
    memory: int
    work: float | None

    @property
    def efficiency(self) -> float | None:
        """Throughput as a share of what the CPUs that it may use could do; None where the work is not known."""
        if self.work is None:
            return None
        return self.rate.median * self.work / min(self.cpus, self.workers if self.scaling else self.cpus)


class Machine(msgspec.Struct, frozen=True):
    """Where and with what it was measured."""

    system: str
    processor: str
    cpus: int
    python: str
    commit: str
    date: str


class Run(msgspec.Struct, frozen=True):
    """All of it."""

    machine: Machine
    command: str
    results: list[Result]
    others: list[tuple[str, str, Estimate]]
    """Benchmarks without a scenario: group, name, seconds of a round."""

    def of(self, scenario: str) -> list[Result]:
        """Return the contestants of one scenario, the fastest first."""
        found = [one for one in self.results if one.scenario == scenario and not one.scaling]
        return sorted(found, key=lambda one: -one.rate.median)

    @property
    def scenarios(self) -> list[str]:
        """Their names, in the order in which they ran."""
        return list(dict.fromkeys(one.scenario for one in self.results if not one.scaling))

    @property
    def contestants(self) -> list[str]:
        """Their names, in the order in which they ran."""
        return list(dict.fromkeys(one.contestant for one in self.results if not one.scaling))

    def find(self, scenario: str, contestant: str) -> Result | None:
        """Return one of them; None if it did not run."""
        return next((one for one in self.of(scenario) if one.contestant == contestant), None)


def ratio(over: Result, under: Result) -> Estimate:
    """Return the throughput of one divided by that of another in the same run."""
    return paired_ratio(over.rates, under.rates)


def read(path: Path, command: str) -> Run:
    """Return the run that a file of pytest-benchmark tells of."""
    told = json.loads(path.read_text(encoding="utf-8"))
    entries: list[dict[str, Any]] = told["benchmarks"]
    ours = [entry for entry in entries if "scenario" in entry["extra_info"]]
    others = [
        (entry["group"] or "", entry["name"], estimate(entry["stats"]["data"]))
        for entry in entries
        if "scenario" not in entry["extra_info"]
    ]
    return Run(_machine(told, ours), command, [_result(entry) for entry in ours], others)


def _machine(told: dict[str, Any], entries: Iterable[dict[str, Any]]) -> Machine:
    info, commit = told["machine_info"], told["commit_info"]
    return Machine(
        system=f"{info['system']} {info['release']}",
        processor=str(info.get("cpu", {}).get("brand_raw", info["machine"])),
        cpus=max((entry["extra_info"]["cpus"] for entry in entries), default=0),
        python=f"{info['python_implementation']} {info['python_version']}",
        commit=f"{str(commit['id'])[:12]}{' with changes' if commit.get('dirty') else ''}",
        date=str(told["datetime"])[:19],
    )


def _result(entry: dict[str, Any]) -> Result:
    more, data = entry["extra_info"], entry["stats"]["data"]
    rates: Sequence[float] = [more["events"] / seconds for seconds in data]
    return Result(
        scenario=more["scenario"], contestant=more["contestant"], workers=more["workers"], cpus=more["cpus"],
        scaling=entry["group"] == SCALING_GROUP, events=more["events"], rate=estimate(rates), rates=list(rates),
        latencies=more["latencies"], own_cpu=more["own_cpu"], worker_cpu=more["worker_cpu"],
        memory=more["memory"], work=more["work"],
    )  # fmt: skip
