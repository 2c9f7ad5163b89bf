"""Reports of benchmarks for the page: files of `event-collector bench --json`, side by side."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from event_collector.benchmark.rendering import HEAD, SCALING_HEAD, cells, headline, reasons, scaling_cells
from event_collector.benchmark.report import Report
from event_collector.watching.tables import short

WIDTH: Final = 1000.0

_decode: Final = msgspec.json.Decoder(Report).decode


class RateBar(NamedTuple):
    """The throughput of one contender in one report, with its interval, on a scale that all share."""

    report: str
    label: str
    colour: int
    width: float
    low: float
    span: float
    words: str


def decode_report(text: bytes) -> Report:
    """Return the report of a file. A ValueError says that it is none."""
    try:
        return _decode(text)
    except msgspec.DecodeError as exc:
        raise ValueError(f"it is no report of `event-collector bench --json`: {exc}") from None


def compare(found: Mapping[str, Report]) -> list[tuple[str, list[RateBar]]]:
    """Return for each contender its throughput in each report."""
    rates = [
        (name, index, row.label, row.rate)
        for index, (name, report) in enumerate(found.items())
        for row in report.rows
        if row.rate is not None
    ]
    most = max((rate.high for *_, rate in rates), default=0.0) or 1.0
    by_label: dict[str, list[RateBar]] = {}
    for name, index, label, rate in rates:
        width, low, high = (round(WIDTH * value / most, 2) for value in (rate.median, rate.low, rate.high))
        words = f"{short(rate.median)} events/s, {short(rate.low)} to {short(rate.high)}"
        bar = RateBar(name, label, index % 10 + 1, width, low, max(2.0, high - low), words)
        by_label.setdefault(label, []).append(bar)
    return list(by_label.items())


def sheets(found: Mapping[str, Report]) -> list[dict[str, Any]]:
    """Return the tables and the recommendation of each report."""
    return [
        {
            "name": name,
            "report": report,
            "headline": headline(report),
            "reasons": reasons(report),
            "head": HEAD,
            "rows": [cells(row) for row in report.rows],
            "scaling_head": SCALING_HEAD,
            "scaling": scaling_cells(report),
        }
        for name, report in found.items()
    ]
