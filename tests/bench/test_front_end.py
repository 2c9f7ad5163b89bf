"""What `python -m bench.front_end` measures: that each measurement still does, with few events."""

from typing import Any

import pytest

from bench.front_end.measured.__main__ import _MEASUREMENTS, _answer

FEW: dict[str, list[dict[str, Any]]] = {
    "depth": [{"queue_type": "PRIORITY", "count": 100, "distinct": 8}],
    "idle": [{"seconds": 0.1, "settle": 0.0, "autoscale": True, "bare": False}],
    "lag": [{"flood": "burst", "events": 200, "autoscale": True}],
    "memory": [{"count": 100}],
    "objects": [{"name": "one-at-a-time", "events": 200}],
    "pattern": [
        {"name": "senders-64", "events": 640, "consumers": 4, "autoscale": False, "bare": bare}
        for bare in (True, False)
    ],
    "sending": [{"form": "send_many", "events": 200, "autoscale": True}],
    "sleepers": [{"events": 50, "autoscale": True, "bare": False}],
    "turns": [{"events": 50, "autoscale": False}],
    "waiting": [{"form": "as_completed", "events": 200, "autoscale": True}],
}


@pytest.mark.parametrize("measurement", _MEASUREMENTS)
def test_measurements_measure(measurement: str) -> None:
    """Each answers with figures; those that leave something out, or know the right results, check that themselves."""
    for asked in FEW[measurement]:
        figures = _answer({"measurement": measurement, "loop": "asyncio", **asked})
        assert "error" not in figures, figures["error"]
        assert all(value >= 0 for value in figures.values())
