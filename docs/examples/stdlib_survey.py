"""Survey the standard library of this Python: what is in its files, and what worker processes are good for."""

import ast
import asyncio
import os
import sysconfig
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from event_collector import Collector, CollectorQueue

try:
    from rich.progress import track
except ImportError:
    track = None

MONITOR = os.environ.get("EVENT_COLLECTOR_MONITOR")  # a socket for event-collector top and web
LIBRARY = Path(sysconfig.get_path("stdlib"))
warnings.simplefilter("ignore", SyntaxWarning)  # the library's own tests hold odd code on purpose


class Survey(NamedTuple):
    """What is in one file. A worker process sends it back, and it arrives as what it was."""

    milliseconds: tuple[float, str]
    longest: tuple[int, str]
    counts: dict[str, int]


def survey(name: str) -> Survey:
    """Take one file apart. That needs the CPU: as a plain `def` it runs in worker processes."""
    path, began = Path(name), time.perf_counter()
    source, file = path.read_bytes(), str(path.relative_to(LIBRARY))
    nodes = list(ast.walk(ast.parse(source)))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = [((f.end_lineno or f.lineno) - f.lineno + 1, f"{f.name}() in {file}") for f in functions]
    counts = {
        "lines": source.count(b"\n"),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "functions": len(functions),
        "functions with a docstring": sum(ast.get_docstring(f, clean=False) is not None for f in functions),
        "branches": sum(isinstance(n, ast.If | ast.IfExp | ast.For | ast.While | ast.Try) for n in nodes),
        "names": len({node.id for node in nodes if isinstance(node, ast.Name)}),
        "bytes, compressed": len(zlib.compress(source, 9)),
    }
    return Survey((1000 * (time.perf_counter() - began), file), max(lengths, default=(0, file)), counts)


async def survey_here(name: str) -> Survey:
    return survey(name)  # the same on the event loop, for comparison


@dataclass
class Gathered:
    """What was found in all files."""

    surveys: list[Survey] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)

    def add(self, survey: Survey) -> None:
        self.surveys.append(survey)
        self.totals.update(survey.counts)
        if not track and len(self.surveys) % 300 == 0:
            print(f"{len(self.surveys):,} files, {self.totals['functions']:,} functions so far", flush=True)


async def survey_all(files: list[str], mode: str, handler: Callable[[str], Any]) -> tuple[Gathered, float]:
    """Send each file through the handler; return what was gathered, and the seconds."""
    found, began = Gathered(), time.perf_counter()
    async with CollectorQueue([Collector("survey", handler)], logging=False, monitor=MONITOR) as queue:
        async for result in queue.stream("survey", track(files, mode) if track else files, ahead=32, ordered=False):
            if isinstance(result.value, Survey):
                found.add(result.value)
            else:  # an Error: its `err` is what the handler has raised
                found.totals["more files that are no valid Python"] += 1
    return found, time.perf_counter() - began


async def main(files: list[str]) -> None:
    here, slow = await survey_all(files, "coroutine mode", survey_here)
    there, fast = await survey_all(files, "process mode  ", survey)
    for title, rows in (
        (f"{LIBRARY}: {len(there.surveys):,} files", [(n, what) for what, n in there.totals.items()]),
        ("Largest functions, in lines", sorted((s.longest for s in there.surveys), reverse=True)[:5]),
        ("Slowest files, in milliseconds", sorted((s.milliseconds for s in there.surveys), reverse=True)[:5]),
    ):
        print(f"\n{title}", *(f"{number:>12,.0f} {what}" for number, what in rows), sep="\n")
    print(f"\nCoroutine mode {slow:.1f} s, process mode {fast:.1f} s: {slow / fast:.2f} times as fast")
    print("Both found the same." if here.totals == there.totals else "THEY FOUND DIFFERENT THINGS.")


if __name__ == "__main__":
    asyncio.run(main([str(f) for f in sorted(LIBRARY.rglob("*.py")) if "site-packages" not in f.parts]))
