"""The small end, measured: one to three programs of `event-collector run` on one broker, against the model.

Handlers only sleep, so that the CPUs of one machine are enough for all programs and the broker: what is compared is how
messages find their way, not how fast a machine is.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats

from bench.brokers.server import Server, nats_server
from bench.hosts.simulation import Setting, simulate
from bench.interpreters import ROOT

__all__ = ["compare", "settings"]

HANDLER = 0.1
SLOTS = 4
LOADS = (0.5, 0.8)
MESSAGES = 400
TOLERANCE = 0.35
"""By how much of the modelled median the measured one may differ. The higher percentile is shown and not judged: what
else the machine does is in it."""

HANDLERS = f"""\
import asyncio
import time

async def sleep(payload, ctx):
    await asyncio.sleep({HANDLER})
    return time.time() - payload.value
"""


def settings() -> list[Setting]:
    """Return what is compared."""
    return [
        Setting(
            hosts, load * hosts * SLOTS / HANDLER, HANDLER, SLOTS,
            MESSAGES / (load * hosts * SLOTS / HANDLER), constant=True,
        )
        for hosts in (1, 2, 3)
        for load in LOADS
    ]  # fmt: skip


def compare() -> bool:
    """Print both for each setting, and return whether they agree."""
    agree = True
    print(f"handlers sleep for {HANDLER * 1e3:g} ms, {SLOTS} at once in a program; times from publication to end")
    with tempfile.TemporaryDirectory() as folder:
        server = nats_server(Path(folder))
        server.start()
        try:
            for number, setting in enumerate(settings()):
                measured = asyncio.run(measure(setting, server, f"S{number}", Path(folder)))
                modelled = simulate(setting)
                agree = show(setting, modelled.times, measured) and agree
        finally:
            server.stop()
    return agree


def show(setting: Setting, modelled: list[float], measured: list[float]) -> bool:
    """Print what was modelled and measured, and return whether the medians agree."""
    shares = {"p50": 50, "p90": 90}
    pairs = {
        name: tuple(statistics.quantiles(times, n=100)[share - 1] for times in (modelled, measured))
        for name, share in shares.items()
    }
    model, real = pairs["p50"]
    agree = abs(real - model) <= TOLERANCE * model
    words = "; ".join(f"{name} {model * 1e3:.1f} and {real * 1e3:.1f} ms" for name, (model, real) in pairs.items())
    print(
        f"  {setting.hosts} programs, {setting.rate:,.0f}/s: modelled and measured {words}"
        f"{'' if agree else '   THEY DIFFER'}",
        flush=True,
    )
    return agree


async def measure(setting: Setting, server: Server, stream: str, folder: Path) -> list[float]:
    """Run the programs, publish at random times, and return how long each message took."""
    (folder / "handlers.py").write_text(HANDLERS)
    url = f"nats://127.0.0.1:{server.port}"
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name=stream, subjects=[stream])
    programs = [_start(f"{url}/{stream}", setting.slots, folder, n) for n in range(setting.hosts)]
    try:
        await _until(jetstream, stream, lambda info: info.num_waiting >= setting.hosts)
        await _publish(jetstream, stream, setting)
        await _until(jetstream, stream, lambda info: info.ack_floor.stream_seq >= MESSAGES)
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait()
        await client.close()
    lines = [line for n in range(setting.hosts) for line in (folder / f"output-{n}").read_text().splitlines()]
    return [json.loads(line)["ok"] for line in lines]


def _start(url: str, slots: int, folder: Path, number: int) -> "subprocess.Popen[bytes]":
    with (folder / f"output-{number}").open("wb") as output, (folder / "errors").open("ab") as errors:
        return subprocess.Popen(
            [
                sys.executable, "-m", "event_collector", "run", str(folder / "handlers.py") + ":sleep",
                "--source", url, "--consumers", str(slots), "--quiet",
            ],
            stdout=output,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers")])},
        )  # fmt: skip


async def _until(jetstream: Any, stream: str, condition: Callable[[Any], bool]) -> None:
    """Wait until the consumer is there, and what the broker says of it is so."""
    while True:
        with suppress(nats.errors.Error):
            if condition(await jetstream.consumer_info(stream, "event-collector")):
                return
        await asyncio.sleep(0.05)


async def _publish(jetstream: Any, stream: str, setting: Setting) -> None:
    """Publish at random times, independent of each other; each message is the time of its publication."""
    chance, due, sent = random.Random(setting.seed), time.time(), []
    for _ in range(MESSAGES):
        due += chance.expovariate(setting.rate)
        await asyncio.sleep(max(0.0, due - time.time()))
        sent.append(await jetstream.publish_async(stream, json.dumps(time.time()).encode()))
    await asyncio.gather(*sent)
