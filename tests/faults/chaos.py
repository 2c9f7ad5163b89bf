"""Chaos: a program with a journal whose workers are killed and stopped at random, and which is itself, again and again.

    python -m tests.faults.chaos [--seconds 60] [--seed N]

Ends with a proof: every event that was accepted is finished, exactly once in each life of the program that finished it,
with all of its results; none is missing. The exit status says whether it holds.
"""

import argparse
import math
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

import psutil

from event_collector.journal.file import JournalFile

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("chaos_program.py")
STARTING = 60.0
"""Seconds that a life may take to start, and the last one to finish what is left of all others."""


class Chaos:
    """One run of it, in a folder of its own.

    Args:
        folder: for the journal and what the lives tell.
        seed: decides what is done to whom; when, decides the machine.

    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._journal, self.output = folder / "chaos.journal", folder / "output"
        self._errors = folder / "errors"
        self._seed = seed
        self._chance = random.Random(seed)
        self._stopped: set[int] = set()
        self.lives = 0
        self.done: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Start lives and end them, for about so many seconds; then let a last one finish."""
        end = math.inf
        while time.monotonic() < end:
            process = self._start()
            if self.lives == 1:  # from here on: a machine with other things to do starts slowly
                end = time.monotonic() + seconds
            self._torment(process, min(end, time.monotonic() + self._chance.uniform(0.5, 6.0)))
            process.kill()
            process.wait()
            self.done["program killed"] += 1
            self._continue_all()
        last = self._start("drain")
        try:
            status = last.wait(STARTING)
        except subprocess.TimeoutExpired:
            last.kill()
            raise SystemExit(f"the last life did not finish within {STARTING} s") from None
        if status:
            raise SystemExit(f"the last life ended with status {status}: {self._errors.read_text()}")

    def _start(self, *options: str) -> "subprocess.Popen[bytes]":
        self.lives += 1
        with self._errors.open("ab") as errors:
            process = subprocess.Popen(
                [
                    sys.executable, str(PROGRAM), str(self._journal), str(self.output), str(self.lives),
                    str(self._seed), *options,
                ],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers")])},
                stderr=errors,
            )  # fmt: skip
        bound = time.monotonic() + STARTING
        # The first life is left alone until there is something to lose.
        awaited = "accepted " if self.lives == 1 else f"started {self.lives}\n"
        while not self._has_told(awaited):
            if process.poll() is not None or time.monotonic() > bound:
                process.kill()
                raise SystemExit(f"life {self.lives} did not start: {self._errors.read_text()}")
            time.sleep(0.02)
        return process

    def _has_told(self, line: str) -> bool:
        return self.output.exists() and line in self.output.read_text()[-200_000:]

    def _torment(self, process: "subprocess.Popen[bytes]", end: float) -> None:
        while time.monotonic() < end and process.poll() is None:
            time.sleep(self._chance.uniform(0.02, 0.3))
            workers = _workers(process.pid)
            deed = self._chance.choice(["kill", "kill", "kill", "stop", "stop", "pause", "continue", "zygote"])
            if deed == "pause":
                self._signal(process.pid, signal.SIGSTOP, "program stopped for a while")
                time.sleep(self._chance.uniform(0.01, 0.2))
                self._signal(process.pid, signal.SIGCONT)
            elif deed == "continue":
                self._continue_all()
            elif deed == "zygote" and self._chance.random() < 0.3:
                for zygote in _zygotes(process.pid):
                    self._signal(zygote, signal.SIGKILL, "zygote killed")
            elif workers:
                victim = self._chance.choice(workers)
                if deed == "stop":
                    self._signal(victim, signal.SIGSTOP, "worker stopped")
                    self._stopped.add(victim)
                else:
                    self._signal(victim, signal.SIGKILL, "worker killed")

    def _signal(self, pid: int, number: signal.Signals, deed: str = "") -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            if deed:
                self.done[deed] += 1

    def _continue_all(self) -> None:
        for pid in self._stopped:
            self._signal(pid, signal.SIGCONT)
        self._stopped.clear()

    def verdict(self) -> list[str]:
        """Return what does not hold; print the figures."""
        told = Told(self.output)
        wrong = told.problems()
        file = JournalFile(str(self._journal), create=False)
        unfinished, dead = file.counts()
        file.close()
        if unfinished:
            wrong.append(f"{unfinished} events are unfinished in the journal")
        if dead != len(told.dead):
            wrong.append(f"{dead} dead letters are in the journal, {len(told.dead)} were told of")
        again = sum(len(lives) > 1 for lives in told.finished.values())
        print(f"seed {self._seed}, {self.lives} lives: {', '.join(f'{n} x {deed}' for deed, n in self.done.items())}")
        print(
            f"{len(told.accepted):,} events accepted, {len(told.accepted.keys() & told.finished.keys()):,} of them "
            f"finished, {again:,} in more than one life; {len(told.dead):,} dead letters; "
            f"{len(told.finished.keys() - told.accepted.keys()):,} finished whose senders died first"
        )
        return wrong


class Told:
    """What all lives have told."""

    def __init__(self, output: Path) -> None:
        self.accepted: dict[str, int] = {}
        """To how many collectors events went, by their names."""
        self.finished: dict[str, Counter[str]] = {}
        """How often events were finished, by name and life."""
        self.results: list[tuple[str, str, int]] = []
        """Names, lives, numbers of results."""
        self.ids: dict[str, set[str]] = {}
        self.dead: set[tuple[str, str]] = set()
        self.wrong: list[str] = []
        self.is_drained = False
        for line in output.read_text().splitlines():
            kind, *words = line.split()
            if kind == "accepted":
                self.accepted[words[0]] = int(words[2])
                self.ids.setdefault(words[0], set()).add(words[1])
            elif kind == "finished":
                self.finished.setdefault(words[0], Counter())[words[2]] += 1
                self.ids.setdefault(words[0], set()).add(words[1])
                self.results.append((words[0], words[2], int(words[3])))
            elif kind == "dead":
                self.dead.add((words[0], words[1]))
            elif kind == "wrong":
                self.wrong.append(line)
            self.is_drained = self.is_drained or kind == "drained"

    def problems(self) -> list[str]:
        """Return what does not hold."""
        found = list(self.wrong)
        missing = self.accepted.keys() - self.finished.keys()
        if missing:
            found.append(f"{len(missing)} accepted events never finished: {sorted(missing)[:10]}")
        for name, life, results in self.results:
            # In a later life an event goes to those collectors only that had not finished it.
            wanted = self.accepted.get(name, 1) if name.startswith(f"{life}-") else 1
            if results < wanted or results > self.accepted.get(name, 4):
                found.append(f"event {name} has {results} results in life {life}, not {wanted}")
        for name, lives in self.finished.items():
            found += [f"event {name} finished {n} times in life {life}" for life, n in lives.items() if n > 1]
        found += [f"event {name} had the ids {sorted(ids)}" for name, ids in self.ids.items() if len(ids) > 1]
        if not self.accepted:
            found.append("no event was accepted")
        if not self.is_drained:
            found.append("the last life did not finish")
        return found


def _zygotes(pid: int) -> list[int]:
    """Return what forks the workers of a program. A worker whose zygote is gone has a parent that is none of ours."""
    try:
        return sorted(child.pid for child in psutil.Process(pid).children() if child.children())
    except psutil.Error:
        return []


def _workers(pid: int) -> list[int]:
    """Return the worker processes of a program, in a fixed order."""
    try:
        children = psutil.Process(pid).children()
        return sorted(worker.pid for child in children for worker in child.children())
    except psutil.Error:
        return []


def seconds_and_seed(program: str, doc: str) -> tuple[float, int]:
    """Return how long the command line of a chaos says that it lasts, and with which seed."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=doc.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=None, help="what is done to whom (default: a new one each time)")
    options = parser.parse_args()
    return options.seconds, random.randrange(10**6) if options.seed is None else options.seed


def main() -> int:
    """Run it, and return 0 if all holds."""
    seconds, seed = seconds_and_seed("tests.faults.chaos", str(__doc__))
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), seed)
        chaos.run(seconds)
        wrong = chaos.verdict()
    for problem in wrong[:20]:
        print(f"WRONG: {problem}")
    print(
        f"{len(wrong)} problems"
        if wrong
        else "every accepted event is finished, once in each life, and none is missing"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
