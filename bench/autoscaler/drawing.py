"""The courses of a run as a drawing: sizes and backlog over time, in plain SVG, without a library."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from bench.autoscaler.records import Outcome

WIDTH, HEIGHT, LEFT, TOP = 860, 150, 60, 26
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#ff7f0e")

Moment = tuple[float, int, int, int]
PANELS: tuple[tuple[str, Callable[[Moment], float]], ...] = (
    ("consumers", lambda moment: moment[1]),
    ("workers", lambda moment: moment[2]),
    ("events waiting", lambda moment: moment[3]),
)


def draw(path: Path, title: str, duration: float, outcomes: dict[str, Outcome]) -> None:
    """Write one drawing: a panel for each tier and one for the backlog, a line for each law."""
    path.write_text(render(title, duration, outcomes, background="white"), encoding="utf-8")


def render(
    title: str, duration: float, outcomes: dict[str, Outcome], *, background: str = "none", width: int = WIDTH
) -> str:
    """Return such a drawing as SVG; it takes the colour of its text from what surrounds it."""
    height = TOP * 2 + len(PANELS) * (HEIGHT + TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + LEFT + 20}" height="{height}"',
        f' viewBox="0 0 {width + LEFT + 20} {height}" font-family="sans-serif" font-size="10" fill="currentColor">',
        f'<rect width="100%" height="100%" fill="{background}"/>',
        f'<text x="{LEFT}" y="16" font-size="14">{escape(title)}</text>',
    ]
    for number, name in enumerate(outcomes):
        x = LEFT + width - (len(outcomes) - number) * 88
        parts.append(f'<text x="{x}" y="16" fill="{COLOURS[number % len(COLOURS)]}">{escape(name)}</text>')
    for row, (label, value) in enumerate(PANELS):
        parts += _panel(TOP + row * (HEIGHT + TOP), label, value, duration, list(outcomes.values()), width)
    return "\n".join([*parts, "</svg>"])


def _panel(
    top: int, label: str, value: Callable[[Moment], float], duration: float, outcomes: Sequence[Outcome], width: int
) -> list[str]:
    highest = max((value(moment) for outcome in outcomes for moment in outcome.course), default=0.0) or 1.0
    bottom = top + HEIGHT
    parts = [
        f'<rect x="{LEFT}" y="{top}" width="{width}" height="{HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="4" y="{top + 12}">{highest:.0f}</text><text x="4" y="{bottom}">0</text>',
        f'<text x="{LEFT + 6}" y="{top + 14}" opacity="0.7">{label}</text>',
        f'<text x="{LEFT + width - 30}" y="{bottom + 14}" opacity="0.7">{duration:.0f} s</text>',
    ]
    for number, outcome in enumerate(outcomes):
        points = _stairs([(moment[0], value(moment)) for moment in outcome.course], duration)
        scaled = " ".join(f"{LEFT + t / duration * width:.1f},{bottom - v / highest * HEIGHT:.1f}" for t, v in points)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{scaled}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
    return parts


def _stairs(points: list[tuple[float, float]], duration: float) -> list[tuple[float, float]]:
    """Turn values that hold until the next one into corners; equal neighbours are left out."""
    corners: list[tuple[float, float]] = []
    for moment, value in points:
        if corners and corners[-1][1] == value:
            continue
        if corners:
            corners.append((moment, corners[-1][1]))
        corners.append((moment, value))
    if corners:
        corners.append((duration, corners[-1][1]))
    return corners
