"""An event loop that ends under its queue: a program that forgets to end the queue, or stops the loop."""

from pathlib import Path

import pytest

from event_collector.journal.file import JournalFile
from tests.faults.programs import program

TEXT = """
    import atexit
    from event_collector import QueueShutDown

    MODE, JOURNAL, ENDING = {mode!r}, {journal!r}, {ending!r}

    async def wait(payload, ctx):
        await asyncio.sleep(60)

    async def main():
        handler = wait if MODE == "coroutine" else act
        queue = CollectorQueue(
            [Collector("c", handler, mode=MODE)], journal=JOURNAL, max_workers=1, max_threads=1, max_consumers=3,
            logging=False,
        )
        await queue.init_queue()
        publisher = queue.get_publisher()
        events = [await publisher.send(Payload(["sleep", 0.3 if MODE == "thread" else 60])) for _ in range(10)]
        atexit.register(report, queue, events)
        if ENDING == "stop":
            asyncio.get_running_loop().stop()
            await asyncio.sleep(60)

    def report(queue, events):
        # Not QueueShutDown, each of them: the end of the loop cancels handlers, and a thread may finish meanwhile.
        ended = [len(event.get_result()) == 1 for event in events]
        count = queue.accounting()
        print("ended", all(ended), "balanced", count.accepted == sum(count[1:]) == count.finished == 10)
        try:
            queue.get_publisher().send_nowait(Payload(1))
        except QueueShutDown:
            print("refused")
"""


@pytest.mark.parametrize(
    ("mode", "ending", "has_journal"),
    [
        ("coroutine", "return", False),
        ("coroutine", "stop", False),
        ("thread", "return", False),
        ("process", "return", False),
        ("process", "return", True),
    ],
)
def test_a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result(
    tmp_path: Path, mode: str, ending: str, has_journal: bool
) -> None:
    """The program ends at once, each event with one result; what is sent then is refused; a journal has the events."""
    journal = tmp_path / "events.journal"
    text = TEXT.format(mode=mode, journal=str(journal) if has_journal else None, ending=ending)
    with program(tmp_path, text) as running:
        output, errors = running.communicate(timeout=60)
    assert output.splitlines() == ["ended True balanced True", "refused"], errors
    if ending == "stop":
        assert errors.rstrip().endswith("RuntimeError: Event loop stopped before Future completed.")
    else:
        assert (running.returncode, errors) == (0, "")
    if has_journal:
        file = JournalFile(str(journal))
        assert file.counts() == (10, 0)
        file.close()
