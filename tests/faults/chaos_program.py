"""The program under chaos: a queue with a journal and every kind of handler, which sends until it is killed.

    python chaos_program.py JOURNAL OUTPUT LIFE SEED [drain]

Lines of OUTPUT, each written in one piece: `accepted NAME ID COLLECTORS` when send() has returned,
`finished NAME ID LIFE RESULTS` when a result list is there,
`dead ID COLLECTOR REASON` for a dead letter, `wrong ...` when the accounting is, `drained`.
With `drain` it sends nothing, and ends when all that it found is finished.
"""

import asyncio
import os
import random
import sys
import time
from typing import Any

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    Context,
    Delivery,
    Error,
    Journal,
    Payload,
    QueueShutDown,
    Retry,
)

SENDERS = 30
RETRY = Retry(max_attempts=6, backoff=0.01, max_backoff=0.1)
_output = -1


def tell(*words: object) -> None:
    os.write(_output, (" ".join(map(str, words)) + "\n").encode())


async def wait(payload: Payload[str], ctx: Context) -> str:
    await asyncio.sleep(random.random() * 0.02)
    return payload.value


async def fail_at_times(payload: Payload[str], ctx: Context) -> str:
    if random.random() < 0.3:
        raise ConnectionError(payload.value)
    return payload.value


def compute(payload: Payload[str], ctx: Context) -> str:
    end = time.perf_counter() + random.random() * 0.004
    while time.perf_counter() < end:
        pass
    return payload.value


def block(payload: Payload[str], ctx: Context) -> str:
    time.sleep(random.random() * 0.005)
    return payload.value


class Ledger:
    """Tells what becomes of every event, and checks the accounting at each end of one."""

    def __init__(self, life: int) -> None:
        self._life = life
        self.queue: CollectorQueue

    def watch(self, event: CollectorEvent) -> None:
        if event.is_done():
            self._finished(event)
        else:
            event.add_waiter(_Watch(event, self._finished))

    def _finished(self, event: CollectorEvent) -> None:
        results = event.get_result() or []
        if any(isinstance(result, Error) and isinstance(result.err, QueueShutDown) for result in results):
            return  # it stays in the journal
        tell("finished", event.payload.value, event.id, self._life, len(results))

    def check(self) -> None:
        account = self.queue.accounting()
        accepted, *places = account
        if accepted != sum(places) or min(account) < 0:
            tell("wrong", account)


class _Watch:
    def __init__(self, event: CollectorEvent, finished: Any) -> None:
        self._event, self._call = event, finished

    def done(self) -> bool:
        return False

    def set_result(self, _result: None, /) -> None:
        self._call(self._event)


def make_queue(journal: Journal) -> CollectorQueue:
    return CollectorQueue(
        [
            Collector("wait", wait),
            Collector("fail", fail_at_times, retry=RETRY),
            Collector("compute", compute, mode="process", timeout=1.0, retry=RETRY),
            Collector("block", block, mode="thread"),
        ],
        journal=journal,
        max_workers=3,
        min_workers=1,
        max_queue_size=300,
        consumer_shutdown_timeout=0,
        logging=False,
    )


async def send(queue: CollectorQueue, ledger: Ledger, sender: str, chance: random.Random) -> None:
    for number in range(10**9):
        name = f"{sender}-{number}"
        keys = chance.sample(["wait", "fail", "compute", "block"], chance.choice([1, 1, 1, 2, 4]))
        event = await queue.get_publisher().send(Payload(name, Delivery.KEY, keys))
        tell("accepted", name, event.id, len(keys))
        ledger.watch(event)
        ledger.check()
        if chance.random() < 0.2:
            await event.wait()


async def main(path: str, life: int, seed: int, drain: bool) -> None:
    ledger = Ledger(life)
    queue = ledger.queue = make_queue(Journal(path, max_crashes=10_000, on_replay=ledger.watch))
    async with queue:
        tell("started", life)
        if not drain:
            chance = random.Random(f"{seed} {life}")
            await asyncio.gather(*(send(queue, ledger, f"{life}-{n}", chance) for n in range(SENDERS)))
        await queue.get_publisher().wait()
        ledger.check()
        for letter in queue.dead_letters:
            tell("dead", letter.id, letter.collector, letter.reason.replace(" ", "-"))
        tell("drained")


if __name__ == "__main__":
    _output = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    asyncio.run(main(sys.argv[1], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:] == ["drain"]))
