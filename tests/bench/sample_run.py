"""A run of pytest-benchmark that was made by hand."""

import json
from pathlib import Path
from typing import Any

from bench.reporting.records import Run, read

STEADY = [0.1, 0.1, 0.1, 0.1, 0.1]
SLOWER = [0.2, 0.2, 0.2, 0.2, 0.2]
NOISY = [0.1, 0.3, 0.1, 0.4, 0.2]


def sample_run(folder: Path, ours: str = "auto") -> Run:
    """Return two contestants in two scenarios, one with one and two workers, and a benchmark without a scenario."""
    file = written(
        folder,
        entry("compute 1 ms", ours, STEADY, work=0.001),
        entry("compute 1 ms", "loky, map", SLOWER, work=0.001),
        entry("compute 10 ms", ours, STEADY, work=0.01),
        entry("compute 10 ms", "loky, map", NOISY, work=0.01),
        {**entry("compute 1 ms", "process", SLOWER, work=0.001, workers=1), "group": "scaling"},
        {**entry("compute 1 ms", "process", STEADY, work=0.001, workers=2), "group": "scaling"},
        {"group": "burst", "name": "test_bare_queue[burst]", "stats": {"data": STEADY}, "extra_info": {}},
    )
    return read(file, "make bench")


def entry(scenario: str, contestant: str, seconds: list[float], **more: Any) -> dict[str, Any]:
    info = {
        "scenario": scenario, "contestant": contestant, "workers": 2, "cpus": 2, "events": 100, "own_cpu": 1e-5,
        "worker_cpu": 1e-3, "memory": 40_000_000, "work": None, "latencies": [0.001 * (n + 1) for n in range(101)],
    }  # fmt: skip
    return {"group": scenario, "name": f"test_modes[{scenario}-{contestant}]", "stats": {"data": seconds},
            "extra_info": {**info, **more}}  # fmt: skip


def written(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / "benchmark.json"
    machine = {"system": "Linux", "release": "6", "machine": "x86_64", "python_implementation": "CPython",
               "python_version": "3.11.7", "cpu": {"brand_raw": "a <fast> CPU"}}  # fmt: skip
    told = {"machine_info": machine, "commit_info": {"id": "0123456789abcdef", "dirty": False},
            "datetime": "2026-01-02T03:04:05.678", "benchmarks": list(entries)}  # fmt: skip
    file.write_text(json.dumps(told))
    return file
