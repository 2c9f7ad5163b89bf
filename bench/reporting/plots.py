"""The plots, as SVG that stands in a page: text and axes take the colours of the page, light or dark."""

import io
import math
import re
from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.reporting.records import Result, Run

__all__ = ["latencies", "scaling", "work"]

INK, LINE = "#010203", "#040506"
"""Stand for the page's colours of text and of thin lines until the drawing is text."""
SIZE = (4.8, 3.9)
COLOURS = ("#2f7ed8", "#e0752d", "#3a9d5d", "#c2438f", "#8d7bd4", "#a88b1f", "#d64550", "#2a9fb0", "#7a8691", "#b36b3e",
           "#5c8f2b")  # fmt: skip
MARKERS = "osD^vPX*<>h"
RC = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": LINE, "xtick.color": INK, "ytick.color": INK, "grid.color": LINE, "grid.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "lines.markersize": 4.5, "legend.frameon": False,
    "legend.fontsize": 7.5, "legend.handlelength": 1.4, "legend.columnspacing": 1.2,
    "figure.facecolor": "none", "axes.facecolor": "none",
}  # fmt: skip


def work(run: Run) -> str | None:
    """Draw throughput over the work of an event, on logarithmic axes, with intervals."""
    shown = [one for one in run.results if one.work is not None and not one.scaling]

    def draw(axes: Axes) -> None:
        for name in dict.fromkeys(one.contestant for one in shown):
            points = sorted((one for one in shown if one.contestant == name), key=lambda one: one.work or 0.0)
            middle = [one.rate.median for one in points]
            errors = [
                [one.rate.median - one.rate.low for one in points],
                [one.rate.high - one.rate.median for one in points],
            ]
            places = [1e3 * (one.work or 0.0) for one in points]
            axes.errorbar(places, middle, errors, capsize=2, linewidth=1.3, **_look(run, name))
        ideal = sorted({(1e3 * one.work, one.cpus / one.work) for one in shown if one.work})
        axes.plot(*zip(*ideal, strict=True), color=INK, linewidth=0.8, linestyle=":", label="all CPUs, no overhead")
        axes.set(xscale="log", yscale="log", xlabel="computing for each event, ms", ylabel="events/s")
        _plain_ticks(axes.xaxis)
        _plain_ticks(axes.yaxis)

    return _svg("work", draw) if len({one.work for one in shown}) > 1 else None


def latencies(run: Run, scenario: str) -> str | None:
    """Draw the distribution of the time of one event after the other."""
    shown = run.of(scenario)

    def draw(axes: Axes) -> None:
        for one in sorted(shown, key=lambda one: one.latencies[50]):
            axes.plot([1e3 * value for value in one.latencies[:100]], range(100), linewidth=1.3,
                      **{**_look(run, one.contestant), "marker": ""})  # fmt: skip
        axes.set(xscale="log", xlabel="time from sending to result, ms", ylabel="% of the events", ylim=(0, 100))
        least, most = axes.get_xlim()
        middle = math.sqrt(least * most)
        axes.set_xlim(min(least, middle / 4), max(most, middle * 4))  # a decade at least, or there is no tick
        _plain_ticks(axes.xaxis)

    return _svg(f"latency-{scenario}", draw) if shown else None


def scaling(run: Run) -> str | None:
    """Draw the speed-up over the number of worker processes."""
    shown = [one for one in run.results if one.scaling]
    names = list(dict.fromkeys(one.contestant for one in shown))

    def draw(axes: Axes) -> None:
        for name in names:
            points = sorted((one for one in shown if one.contestant == name), key=lambda one: one.workers)
            axes.errorbar(*_speedups(points), capsize=2, linewidth=1.3, **_look(run, name))
        most, cpus = max(one.workers for one in shown), shown[0].cpus
        axes.plot([1, cpus, most], [1, min(cpus, most), min(cpus, most)], color=INK, linewidth=0.8, linestyle=":",
                  label=f"ideal on {cpus} CPUs")  # fmt: skip
        axes.set(xlabel="worker processes", ylabel="speed-up", xlim=(0.8, most + 0.2), ylim=(0, None))
        axes.set_xticks(sorted({one.workers for one in shown}))

    return _svg("scaling", draw) if names else None


def _plain_ticks(axis: Axis) -> None:
    """Label decades with plain numbers, and nothing between them."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _speedups(points: Sequence[Result]) -> tuple[list[int], list[float], list[list[float]]]:
    base = points[0].rate.median * 1 / points[0].workers
    middle = [one.rate.median / base for one in points]
    low = [(one.rate.median - one.rate.low) / base for one in points]
    high = [(one.rate.high - one.rate.median) / base for one in points]
    return [one.workers for one in points], middle, [low, high]


def _look(run: Run, contestant: str) -> dict[str, str]:
    """Return how a contestant is drawn: the same in all plots."""
    names = run.contestants
    place = names.index(contestant) % len(COLOURS) if contestant in names else -1
    return {"color": COLOURS[place], "marker": MARKERS[place], "label": contestant}


def _svg(salt: str, draw: Callable[[Axes], None]) -> str:
    with mpl.rc_context({**RC, "svg.hashsalt": salt}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=True, axis="both", alpha=0.6)
        draw(axes)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _embeddable(buffer.getvalue(), salt)


def _embeddable(text: str, salt: str) -> str:
    """Return the drawing as part of a page: without a prologue, with names of its own, in the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="(?P<name>[^"]+)"', rf'id="{salt.replace(" ", "-")}-\g<name>"', text)
    text = re.sub(r'(?P<link>(?:href="|url\()#)', rf"\g<link>{salt.replace(' ', '-')}-", text)
    return text.replace(INK, "currentColor").replace(LINE, "var(--line, #999)")
