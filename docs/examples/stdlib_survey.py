"""Survey the standard library of this Python: what is in its files, and what worker processes are good for."""

import ast
import asyncio
import sysconfig
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from event_collector import Collector, CollectorQueue, Context, Delivery, Payload, Processor

try:
    from rich.progress import track
except ImportError:
    track = None

LIBRARY = Path(sysconfig.get_path("stdlib"))
warnings.simplefilter("ignore", SyntaxWarning)  # the library's own tests hold odd code on purpose


class Survey(NamedTuple):
    """What is in one file. A worker process sends it back, and it arrives as what it was."""

    milliseconds: tuple[float, str]
    longest: tuple[int, str]
    counts: dict[str, int]


def survey(payload: Payload[str], ctx: Context) -> Survey:
    """Take one file apart. That needs the CPU: as a plain `def` it runs in worker processes."""
    path, began = Path(payload.value), time.perf_counter()
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


async def survey_here(payload: Payload[str], ctx: Context) -> Survey:
    return survey(payload, ctx)  # the same on the event loop, for comparison


async def add_up(payload: Payload[Survey], ctx: Context) -> None:
    """Keep the running totals. An `async def` runs in the program itself, whose memory it shares."""
    ctx.surveys.append(payload.value)
    ctx.totals.update(payload.value.counts)
    if not track and len(ctx.surveys) % 300 == 0:
        print(f"{len(ctx.surveys):,} files, {ctx.totals['functions']:,} functions so far", flush=True)


async def survey_all(files: list[str], mode: str, handler: Processor) -> tuple[Context, float]:
    """Send each file to the handler, and what that finds to add_up(); return what was gathered, and the seconds."""
    ctx, began = Context({"surveys": [], "totals": Counter()}), time.perf_counter()
    collectors = [Collector("survey", handler), Collector("add up", add_up, ctx=ctx)]
    async with CollectorQueue(collectors, logging=False) as queue:
        publisher = queue.get_publisher()

        async def follow(file: str) -> None:
            event = await publisher.send(Payload(file, Delivery.KEY, ["survey"]))
            try:
                found = (await event.wait()).first().unwrap()
                await publisher.send(Payload(found, Delivery.KEY, ["add up"]))
            except SyntaxError:
                ctx.totals["more files that are no valid Python"] += 1

        followed = asyncio.as_completed([follow(file) for file in files])
        for each in track(followed, mode, len(files)) if track else followed:
            await each
    return ctx, time.perf_counter() - began


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
