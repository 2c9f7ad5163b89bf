"""Chaos with a broker: three programs share a stream, are killed at random, and so is the broker, in the middle.

    python -m tests.faults.source_chaos [--seconds 60] [--seed N]

Ends with a proof: every message that the broker has accepted is processed or a dead letter, none is missing; and it
counts how many were processed more than once. The exit status says whether the proof holds.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import nats

from bench.brokers.server import nats_server
from tests.faults.chaos import ROOT, seconds_and_seed

HANDLERS = Path(__file__).with_name("source_handlers.py")
STREAM = "CHAOS"
PROGRAMS = 3
ACK_WAIT = 1.5
"""Seconds after which a killed program's messages go to others."""
LONGEST = 60.0
"""Seconds that the programs may take to finish what is left at the end."""


class Chaos:
    """One run of it, in a folder of its own.

    Args:
        folder: for the broker's data and what the programs write.
        seed: decides what is done to whom; when, decides the machine.

    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._chance = random.Random(seed)
        self._broker = nats_server(folder)
        self._programs: list[subprocess.Popen[bytes]] = []
        self._lives = 0
        self._wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self.accepted: set[int] = set()
        """The numbers of messages that the broker has said to have."""

    async def run(self, seconds: float) -> list[str]:
        """Publish and kill for so many seconds, let the programs finish, and return what does not hold."""
        self._broker.start()
        try:
            client = await nats.connect(
                f"nats://127.0.0.1:{self._broker.port}", max_reconnect_attempts=-1, reconnect_time_wait=0.1,
                error_cb=_ignore,
            )  # fmt: skip
            self._client = client
            await client.jetstream().add_stream(name=STREAM, subjects=[STREAM])
            self._programs = [self._start_program() for _ in range(PROGRAMS)]
            publishing = asyncio.create_task(self._publish(time.monotonic() + seconds))
            await self._torment(seconds)
            await publishing
            wrong = await self._finish()
            dead = await self._dead_letters()
            await client.close()
            return wrong + self._verdict(dead)
        finally:
            for process in self._programs:
                process.kill()
                process.wait()
            self._broker.stop()

    def _start_program(self) -> "subprocess.Popen[bytes]":
        self._lives += 1
        url = f"nats://127.0.0.1:{self._broker.port}/{STREAM}?ack_wait={ACK_WAIT}"
        with (self._folder / f"output-{self._lives}").open("wb") as output:
            return subprocess.Popen(
                [
                    sys.executable, "-m", "event_collector", "run", f"{HANDLERS}:handlers", "--source", url,
                    "--max-attempts", "3", "--workers", "1", "--quiet",
                ],
                stdout=output,
                stderr=(self._folder / "errors").open("ab"),
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers")])},
            )  # fmt: skip

    async def _publish(self, end: float) -> None:
        """Publish one message after the other until the end, each until the broker has it."""
        jetstream, number = self._client.jetstream(), 0
        while time.monotonic() < end:
            number += 1
            data = json.dumps({"n": number, "fails": number % 50 == 0}).encode()
            while number not in self.accepted:
                try:
                    # The id has the broker drop what it had accepted when its answer was lost.
                    await jetstream.publish(STREAM, data, timeout=1, headers={"Nats-Msg-Id": f"m{number}"})
                    self.accepted.add(number)
                except (nats.errors.Error, OSError, TimeoutError):
                    await asyncio.sleep(0.1)
            await asyncio.sleep(0.002)

    async def _torment(self, seconds: float) -> None:
        """Kill programs at random, and the broker once in each third of the time."""
        end, broker_dies = time.monotonic() + seconds, [seconds * share for share in (0.4, 0.75)]
        begun = time.monotonic()
        while time.monotonic() < end:
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
            self._revive()
            if broker_dies and time.monotonic() - begun > broker_dies[0]:
                del broker_dies[0]
                await self._restart_broker()
                continue
            victim = self._chance.randrange(PROGRAMS)
            how = self._chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            self._programs[victim].send_signal(how)
            await asyncio.to_thread(self._programs[victim].wait, LONGEST)
            self.done[f"program ended by {how.name}"] += 1
            self._programs[victim] = self._start_program()

    def _revive(self) -> None:
        """Start programs again that found no broker when they started: that ends them at once, with status 1."""
        for number, process in enumerate(self._programs):
            status = process.poll()
            if status is None:
                continue
            self.done["program found no broker"] += 1
            if status != 1:
                self._wrong.append(f"a program ended by itself with status {status}")
            self._programs[number] = self._start_program()

    async def _restart_broker(self) -> None:
        self._broker.stop()
        await asyncio.sleep(self._chance.uniform(0.1, 1.0))
        self._broker.start()
        self.done["broker killed"] += 1

    async def _finish(self) -> list[str]:
        """Wait until the broker has nothing left, then end the programs."""
        deadline = time.monotonic() + LONGEST
        jetstream, left = self._client.jetstream(), -1
        while left:
            if time.monotonic() > deadline:
                return [f"{left} messages are left with the broker"]
            await asyncio.sleep(0.1)
            self._revive()
            with suppress(nats.errors.Error, OSError, TimeoutError):
                info = await jetstream.consumer_info(STREAM, "event-collector")
                left = (info.num_pending or 0) + (info.num_ack_pending or 0)
        for process in self._programs:
            process.terminate()
            status = await asyncio.to_thread(process.wait, LONGEST)
            if status not in (143, -signal.SIGTERM):  # the latter before it has begun
                self._wrong.append(f"a program ended with status {status}")
        return self._wrong

    async def _dead_letters(self) -> list[int]:
        jetstream = self._client.jetstream()
        state = (await jetstream.stream_info(f"{STREAM}_DEAD")).state
        letters = [await jetstream.get_msg(f"{STREAM}_DEAD", number) for number in range(1, state.messages + 1)]
        return [json.loads(letter.data or b"{}")["n"] for letter in letters]

    def _verdict(self, dead: list[int]) -> list[str]:
        """Return what does not hold; print the figures."""
        succeeded: Counter[int] = Counter()
        for output in self._folder.glob("output-*"):
            for line in output.read_bytes().splitlines():
                with suppress(ValueError):  # the last line of a program that was killed
                    for result in json.loads(line).get("results", []):
                        if "ok" in result and result["collector"] == "compute":
                            succeeded[result["ok"]] += 1
        wrong = problems(self.accepted, set(succeeded), dead)
        again = sum(count - 1 for count in succeeded.values())
        print(f"seed {self._seed}, {self._lives} lives: {', '.join(f'{n} x {deed}' for deed, n in self.done.items())}")
        print(
            f"{len(self.accepted):,} messages accepted, {len(succeeded):,} written out as done, {again:,} times once "
            f"more; {len(dead):,} dead letters"
        )
        return wrong


def problems(accepted: set[int], succeeded: set[int], dead: list[int]) -> list[str]:
    """Return what does not hold of messages that were accepted, done, and dead."""
    found = []
    missing = accepted - succeeded - set(dead)
    if missing:
        found.append(f"{len(missing)} messages are missing: {sorted(missing)[:10]}")
    to_fail = {number for number in accepted if number % 50 == 0}
    if to_fail - set(dead):
        found.append(f"messages that fail are no dead letters: {sorted(to_fail - set(dead))[:10]}")
    twice = [number for number, count in Counter(dead).items() if count > 1]
    if twice:
        found.append(f"messages are dead letters twice: {sorted(twice)[:10]}")
    if not accepted:
        found.append("no message was accepted")
    return found


async def _ignore(_exc: Exception) -> None:
    """The broker is killed on purpose."""


def main() -> int:
    """Run it, and return 0 if all holds."""
    seconds, seed = seconds_and_seed("tests.faults.source_chaos", str(__doc__))
    with tempfile.TemporaryDirectory() as folder:
        wrong = asyncio.run(Chaos(Path(folder), seed).run(seconds))
    for problem in wrong[:20]:
        print(f"WRONG: {problem}")
    print(f"{len(wrong)} problems" if wrong else "every message is done or a dead letter, and none is missing")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
