"""A feed: what it fetches, what it tells the source and when, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    Payload,
    Reject,
    Retry,
    RetryLater,
    SourceError,
)
from event_collector.sources import Feed, FeedCounts, Finished, Message
from event_collector.sources.source import translate_errors
from event_collector.values.json_values import UnknownType

from .sample_source import SampleSource, make, queue_of, tell_of_message, until

BOUND = 30.0
"""Seconds after which a wait counts as a hang."""
AT_ONCE = Retry(max_attempts=3, backoff=0.0)


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def fail(payload: Payload[Any], ctx: Context) -> Any:
    """Fail in the way that the payload names."""
    match payload.value:
        case "reject":
            raise Reject("never")
        case "later":
            raise RetryLater("soon", delay=7.0)
        case "fail":
            raise ValueError("no good")
    return payload.value


class Gate:
    """A handler that waits until it is let through."""

    def __init__(self) -> None:
        self.inside: list[Any] = []
        self.open = asyncio.Event()

    async def handle(self, payload: Payload[Any], ctx: Context) -> Any:
        self.inside.append(payload.value)
        await self.open.wait()
        return payload.value


async def feed_all(source: SampleSource, queue: CollectorQueue, **options: Any) -> tuple[FeedCounts, list[Finished]]:
    """Feed a queue until the source is empty; return the counts, and what was finished."""
    finished: list[Finished] = []

    async def note(some: Sequence[Finished]) -> None:
        finished.extend(some)

    async with asyncio.timeout(BOUND), queue:
        feed = Feed(queue, source, on_finished=note, **options)
        await feed.run(until_empty=True)
    return feed.counts(), finished


@asynccontextmanager
async def running(feed: Feed) -> AsyncIterator["asyncio.Task[None]"]:
    """Have a feed run for the length of a test."""
    task = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(BOUND):
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- what becomes of messages --


async def test_messages_become_events_and_are_acknowledged() -> None:
    """Each message is processed once, told to on_finished, then to the source, and the source is closed."""
    source = SampleSource(range(100))
    counts, finished = await feed_all(source, queue_of(echo))
    assert counts == FeedCounts(fetched=100, acknowledged=100)
    assert sorted(one.event.get_result()[0].unwrap() for one in finished) == list(range(100))  # type: ignore[union-attr,index]
    assert source.told == [("acknowledged", one.message.place) for one in finished]
    assert source.closed


async def test_a_message_is_acknowledged_only_after_its_handlers() -> None:
    """While a handler has it, the source hears nothing but that it is extended."""
    gate = Gate()
    source = SampleSource(["slow"], hold=0.03)
    async with queue_of(gate.handle) as queue, running(Feed(queue, source)):
        await until(lambda: source.extended["1"] >= 2)
        assert source.told == []
        gate.open.set()
        await until(lambda: source.told == [("acknowledged", "1")])


async def test_a_message_that_fails_is_delivered_again() -> None:
    """An error is a retry with the wait of the policy, or the one that the handler asks for."""
    source = SampleSource(["fail", "later", "fine"])
    policy = Retry(max_attempts=3, backoff=5.0, jitter=0.0)
    queue = queue_of(fail)
    async with queue, running(Feed(queue, source, retry=policy)):
        await until(lambda: len(source.told) == 3)
    assert sorted(source.told) == [("acknowledged", "3"), ("retried", "1"), ("retried", "2")]
    assert source.delays == {"1": 5.0, "2": 7.0}


async def test_the_last_delivery_makes_a_dead_letter() -> None:
    """So do an error that no policy retries, and data that is no payload, each with its reason."""
    source = SampleSource()
    source.add(
        make(1, "fail", deliveries=3),
        make(2, "reject"),
        make(3, b"{nope"),
        make(4, "fine", deliveries=21),
        make(5, b'"' + b"x" * 17 * 1024 * 1024 + b'"'),
    )
    counts, finished = await feed_all(source, queue_of(fail), retry=AT_ONCE)
    assert counts == FeedCounts(fetched=5, buried=5)
    assert {place: reason for place, (reason, _) in source.reasons.items()} == {
        "1": "exhausted", "2": "rejected", "3": "malformed", "4": "lost", "5": "malformed",
    }  # fmt: skip
    assert source.reasons["1"][1] == "ValueError: no good"
    assert source.reasons["3"][1].startswith("InvalidJSON: message 3 is not JSON")
    assert {one.message.place: type(one.error).__name__ for one in finished if one.error} == {
        "3": "InvalidJSON", "4": "SourceError", "5": "MessageTooLong",
    }  # fmt: skip


async def test_values_have_the_type_that_the_handler_asks_for() -> None:
    """What does not fit it is malformed, and a type that JSON cannot have is refused at once."""

    async def typed(payload: Payload[int], ctx: Context) -> int:
        return payload.value

    async def impossible(payload: Payload[list[int] | set[int]], ctx: Context) -> None: ...

    source = SampleSource([1, "two"])
    counts, _ = await feed_all(source, queue_of(typed))
    assert (counts.acknowledged, counts.buried) == (1, 1)
    assert "PayloadTypeError: message 2 does not fit" in source.reasons["2"][1]
    with pytest.raises(UnknownType, match="messages cannot be decoded"):
        Feed(queue_of(impossible), source)


async def test_payloads_can_be_made_otherwise() -> None:
    """to_payload= decides on value, priority and where the payload goes; what it raises is a dead letter."""

    def make_payload(message: Message) -> Payload[Any]:
        if message.place == "2":
            raise KeyError("two")
        return Payload(message.data.decode(), priority=5)

    source = SampleSource()
    source.add(make(1, b"text"), make(2, b"text"))
    _, finished = await feed_all(source, queue_of(echo), to_payload=make_payload)
    (event,) = [one.event for one in finished if one.event]
    assert (event.payload.value, event.payload.priority) == ("text", 5)
    assert source.reasons["2"][0] == "malformed"


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_handlers_know_the_message(mode: str) -> None:
    """payload.message_id and payload.attempt say which message it is, and which delivery, wherever a handler runs."""

    async def here(payload: Payload[Any], ctx: Context) -> Any:
        return tell_of_message(payload, ctx)

    source = SampleSource()
    source.add(make(1, "once", id_="order-7"), make(2, "again", deliveries=2))
    processor = here if mode == "coroutine" else tell_of_message
    queue = CollectorQueue([Collector("only", processor, mode=mode)], logging=False, max_workers=1)
    _, finished = await feed_all(source, queue)
    answers = [one.event.get_result()[0].unwrap() for one in finished]  # type: ignore[union-attr,index]
    assert sorted(map(list, answers)) == [["2", 2], ["order-7", 1]]


async def test_a_collector_that_retries_itself_has_the_last_word() -> None:
    """With retry= in a collector the attempts are made here, and its error makes a dead letter."""
    attempts = []

    async def handle(payload: Payload[Any], ctx: Context) -> None:
        attempts.append(payload.attempt)
        raise ValueError("no good")

    source = SampleSource(["x"])
    queue = CollectorQueue([Collector("only", handle, retry=AT_ONCE)], logging=False)
    counts, _ = await feed_all(source, queue)
    assert (attempts, counts.buried) == ([1, 2, 3], 1)


# -- duplicates --


async def test_a_message_that_comes_again_is_not_run_again() -> None:
    """One with the id of a message that is held, or was done with, is acknowledged and counted."""
    gate, source = Gate(), SampleSource()
    queue = queue_of(gate.handle)
    async with queue, running(feed := Feed(queue, source)):
        source.add(make(1, "a", id_="A"))
        await until(lambda: gate.inside == ["a"])
        source.add(make(2, "a", id_="A"))  # published twice
        await until(lambda: source.told == [("acknowledged", "2")])
        gate.open.set()
        await until(lambda: len(source.told) == 2)
        source.add(make(1, "a", id_="A", deliveries=2))
        await until(lambda: len(source.told) == 3)
    assert gate.inside == ["a"]
    assert feed.counts() == FeedCounts(fetched=3, acknowledged=1, duplicates=2)


async def test_a_delivery_takes_the_place_of_the_one_before() -> None:
    """When the source has given up a message that still runs, what it gets is said of its last delivery."""
    gate, source = Gate(), SampleSource()
    queue = queue_of(gate.handle)
    async with queue, running(feed := Feed(queue, source)):
        source.add(make(1, "a"))
        await until(lambda: gate.inside == ["a"])
        again = make(1, "a", deliveries=2)
        source.add(again)
        await until(lambda: feed.counts().fetched == 2)
        assert source.told == []
        gate.open.set()
        await until(lambda: source.told == [("acknowledged", "1")])
    assert gate.inside == ["a"]
    assert feed.counts() == FeedCounts(fetched=2, acknowledged=1, duplicates=1)


async def test_what_failed_is_no_duplicate() -> None:
    """A message that is delivered again because its handler failed runs again."""
    source = SampleSource()
    source.add(make(1, "fail"))
    queue = queue_of(fail)
    async with queue, running(feed := Feed(queue, source, retry=AT_ONCE)):
        await until(lambda: len(source.told) == 1)
        source.add(make(1, "fail", deliveries=2))
        await until(lambda: len(source.told) == 2)
    assert feed.counts() == FeedCounts(fetched=2, retried=2)


async def test_a_place_may_be_given_again() -> None:
    """A stream that is made anew counts from the beginning: its messages run, beside those of before and after them."""
    gate, source = Gate(), SampleSource()
    async with queue_of(gate.handle) as queue, running(feed := Feed(queue, source)):
        source.add(make(1, "old", born="Monday"), make(2, "old too", born="Monday"))
        await until(lambda: len(gate.inside) == 2)
        source.add(make(1, "new", born="Tuesday"))
        await until(lambda: len(gate.inside) == 3)
        gate.open.set()
        await until(lambda: feed.counts().acknowledged == 3)
        source.add(make(2, "new too", born="Tuesday"))
        await until(lambda: feed.counts().acknowledged == 4)
        source.add(make(2, "new too", born="Tuesday", deliveries=2))
        await until(lambda: feed.counts().duplicates == 1)
    assert gate.inside == ["old", "old too", "new", "new too"]


async def test_a_dead_letter_may_be_published_again() -> None:
    """Under its own id, it runs: what was done with did not succeed. Another delivery of the old one does not."""
    source = SampleSource()
    async with queue_of(fail) as queue, running(feed := Feed(queue, source)):
        source.add(make(1, "reject", id_="A"))
        await until(lambda: feed.counts().buried == 1)
        source.add(make(1, "reject", id_="A", deliveries=2))
        await until(lambda: feed.counts().duplicates == 1)
        source.add(make(2, "fine", id_="A"))
        await until(lambda: feed.counts().acknowledged == 1)


async def test_an_id_is_no_place() -> None:
    """A message without an id of its publisher is no copy of one whose id is its place."""
    source = SampleSource()
    source.add(make(1, "a", id_="2"), make(2, "b"), make(3, "c", id_="1"))
    counts, _ = await feed_all(source, queue_of(echo))
    assert counts == FeedCounts(fetched=3, acknowledged=3)


async def test_duplicates_run_again_without_a_window() -> None:
    """duplicate_window=0 remembers nothing."""
    source = SampleSource()
    queue = queue_of(echo)
    async with queue, running(feed := Feed(queue, source, duplicate_window=0)):
        source.add(make(1, "a"))
        await until(lambda: feed.counts().acknowledged == 1)
        source.add(make(1, "a", deliveries=2))
        await until(lambda: feed.counts().acknowledged == 2)


# -- how much is fetched --


async def test_no_more_is_fetched_than_may_be_in_flight() -> None:
    """max_in_flight bounds what is held, and what is settled makes room."""
    gate = Gate()
    source = SampleSource(range(2000))
    queue = queue_of(gate.handle)
    async with queue, running(feed := Feed(queue, source, max_in_flight=10)):
        await until(lambda: len(gate.inside) == 10)
        await asyncio.sleep(0.05)
        assert feed.counts().held == 10
        gate.open.set()
        await until(lambda: feed.counts().acknowledged == 2000)
    assert max(source.asked) <= 10  # how many at once depends on the pace that it finds


async def test_a_full_queue_holds_up_the_source() -> None:
    """Of a queue with max_queue_size no more are fetched than it has room for, but one that waits to be sent."""
    gate = Gate()
    source = SampleSource(range(100))
    queue = queue_of(gate.handle, max_queue_size=1, max_consumers=2)
    async with queue, running(feed := Feed(queue, source)):
        await until(lambda: feed.counts().held == 4)
        await asyncio.sleep(0.1)
        assert feed.counts().held == 4  # two in handlers, one that waits, one that waits for room
        gate.open.set()
        await until(lambda: feed.counts().acknowledged == 100)


async def test_a_slow_program_leaves_messages_to_others() -> None:
    """Not many more are fetched than will soon begin, although the queue has room for all of them."""
    gate = Gate()
    source = SampleSource(range(5000))
    queue = queue_of(gate.handle, max_consumers=2)
    async with queue, running(feed := Feed(queue, source)):
        await until(lambda: feed.counts().held >= 2 + 2)
        await asyncio.sleep(0.1)
        assert feed.counts().held == 2 + 2
        gate.open.set()
        most = 0
        while (counts := feed.counts()).acknowledged < 5000:
            most = max(most, counts.held)
            await asyncio.sleep(0)
    assert most > 20  # a fast one gets more


async def test_large_messages_are_bounded_by_their_bytes() -> None:
    """max_bytes lets no more in than it says, and a little; a message that is larger goes through alone."""
    gate = Gate()
    source = SampleSource(["x" * 100_000 for _ in range(200)])
    queue = queue_of(gate.handle)
    async with queue, running(feed := Feed(queue, source, max_bytes=2_000_000)):
        await until(lambda: feed.counts().held >= 20)
        await asyncio.sleep(0.05)
        assert feed.counts().held < 60
        gate.open.set()
        await until(lambda: feed.counts().acknowledged == 200)
    alone = SampleSource(["x" * 100_000])
    counts, _ = await feed_all(alone, queue_of(echo), max_bytes=1)
    assert counts.acknowledged == 1


# -- the end --


async def test_stop_finishes_what_was_fetched() -> None:
    """What is in the queue is settled, what a fetch still brings is given back, then run() returns."""
    gate = Gate()
    source = SampleSource(range(5), patience=BOUND)
    queue = queue_of(gate.handle)
    async with queue, running(feed := Feed(queue, source)) as run:
        await until(lambda: len(gate.inside) == 5 and source.is_waiting)
        feed.stop()
        source.add(make(6, 6))
        await asyncio.sleep(0.05)
        assert not run.done()
        gate.open.set()
        await run
    assert feed.counts() == FeedCounts(fetched=6, acknowledged=5, released=1)
    assert source.closed


async def test_stop_gives_back_what_waits_for_room() -> None:
    """What was fetched and is not in the queue yet is given back at once."""
    gate = Gate()
    source = SampleSource(range(100))
    queue = queue_of(gate.handle, max_queue_size=1, max_consumers=2)
    async with queue, running(feed := Feed(queue, source)) as run:
        await until(lambda: feed.counts().held == 4)
        feed.stop()
        gate.open.set()
        await run
    assert feed.counts() == FeedCounts(fetched=4, acknowledged=3, released=1)
    assert source.delays == {"4": 0.0}


async def test_the_shutdown_of_the_queue_ends_the_feed() -> None:
    """What the queue finishes is acknowledged, what it gives up goes back, and run() returns by itself."""
    for timeout, expected in ((BOUND, "acknowledged"), (0.01, "retried")):
        gate = Gate()
        source = SampleSource(["a"])
        queue = queue_of(gate.handle, consumer_shutdown_timeout=timeout)
        await queue.init_queue()
        async with running(feed := Feed(queue, source)) as run:
            await until(lambda: gate.inside == ["a"])
            ending = asyncio.create_task(queue.shut_down_queue())
            await asyncio.sleep(0.02)
            if timeout == BOUND:
                gate.open.set()
            await run
            await ending
        assert source.told == [(expected, "1")]
        assert feed.counts().released == (expected == "retried")


async def test_cancelling_gives_everything_back() -> None:
    """What handlers still have is delivered again elsewhere, and the source is closed."""
    gate = Gate()
    source = SampleSource(range(3))
    async with queue_of(gate.handle, consumer_shutdown_timeout=0.01) as queue:
        async with running(feed := Feed(queue, source)) as run:
            await until(lambda: len(gate.inside) == 3)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        assert feed.counts() == FeedCounts(fetched=3, released=3)
        assert source.closed


async def test_an_error_of_on_finished_ends_the_feed() -> None:
    """It comes out of run(), and the messages that could not be saved are delivered again."""

    async def refuse(finished: Sequence[Finished]) -> None:
        raise OSError("disk full")

    source = SampleSource(["a"])
    async with asyncio.timeout(BOUND), queue_of(echo) as queue:
        with pytest.raises(OSError, match="disk full"):
            await Feed(queue, source, on_finished=refuse).run()
    assert source.told == [("retried", "1")]
    assert source.closed


# -- a source that fails --


async def test_a_source_that_cannot_be_opened_is_an_error() -> None:
    """run() raises it at once."""
    source = SampleSource()
    source.failing.add("open")
    async with queue_of(echo) as queue:
        with pytest.raises(SourceError, match="no open today"):
            await Feed(queue, source).run()


class CountingSource(SampleSource):
    """A source that knows what is not settled, with one message that another program gives back late."""

    def __init__(self, questions: int) -> None:
        super().__init__([1])
        self.questions = questions

    async def count_unsettled(self) -> int:
        self._fail("count")
        self.questions -= 1
        if self.questions == 0:
            self.add(make(2, 2, deliveries=2))
        return int(self.questions >= 0 or bool(self.waiting))


async def test_until_empty_waits_for_what_others_hold() -> None:
    """A source that counts is empty when nothing is left anywhere."""
    counts, _ = await feed_all(CountingSource(3), queue_of(echo))
    assert counts.acknowledged == 2


@pytest.mark.parametrize("method", ["fetch", "count"])
async def test_a_source_that_does_not_answer_is_not_empty(method: str) -> None:
    """until_empty= waits for an answer, also when nothing is held; each outage is a line in the log, and its end."""
    lines: list[str] = []

    class Log:
        def warning(self, event: str, **_: Any) -> None:
            lines.append(event)

    source = CountingSource(1000)
    async with asyncio.timeout(BOUND), queue_of(echo) as queue:
        feed = Feed(queue, source, log=Log())
        run = asyncio.create_task(feed.run(until_empty=True))
        await until(lambda: feed.counts().acknowledged == 1)
        for outage in (1, 2):
            source.failing.add(method)
            await until(lambda outage=outage: len(lines) >= 2 * outage - 1)  # type: ignore[misc]
            source.failing.clear()
            await until(lambda outage=outage: len(lines) >= 2 * outage)  # type: ignore[misc]
        assert not run.done()
        source.questions = 1
        await run
    assert feed.counts().acknowledged == 2
    assert lines[0].startswith("the source gives no messages")
    assert lines[1] == "the source answers again"


async def test_an_error_is_not_the_end() -> None:
    """until_empty= does not take an error of a source for its end, also if the source does not count."""
    source = SampleSource([1, 2])
    source.failing.add("fetch")
    async with asyncio.timeout(BOUND), queue_of(echo) as queue:
        feed = Feed(queue, source)
        run = asyncio.create_task(feed.run(until_empty=True))
        await until(lambda: feed._health.is_lost)
        source.failing.clear()
        await run
    assert feed.counts().acknowledged == 2


@pytest.mark.parametrize("error", [RuntimeError("closed"), TypeError("None"), AttributeError("x"), TimeoutError()])
def test_all_errors_of_a_client_are_those_of_the_source(error: Exception) -> None:
    """A library whose connection is gone raises what it comes across."""
    with pytest.raises(SourceError, match=r"stream 'S' is lost: (closed|None|x|no answer in time)"):
        with translate_errors("stream 'S' is lost"):
            raise error


async def test_a_source_that_goes_away_is_asked_again() -> None:
    """Until it gives messages again, nothing is lost."""
    source = SampleSource(range(3))
    source.failing.add("fetch")
    async with queue_of(echo) as queue, running(feed := Feed(queue, source)):
        await asyncio.sleep(0.05)
        assert feed.counts().fetched == 0
        source.failing.clear()
        await until(lambda: feed.counts().acknowledged == 3)


@pytest.mark.parametrize(("method", "value"), [("retry", "fail"), ("bury", "reject")])
async def test_a_failure_that_the_source_was_not_told_of_is_counted(method: str, value: str) -> None:
    """It will be delivered again, and runs again then."""
    source = SampleSource([value])
    source.failing |= {method, "extend"}
    queue = queue_of(fail)
    async with queue, running(feed := Feed(queue, source)):
        await until(lambda: feed.counts().unsettled == 1)
        assert feed.counts() == FeedCounts(fetched=1, unsettled=1)
        source.failing.clear()
        source.add(make(1, value, deliveries=2))
        await until(lambda: len(source.told) == 1)
        assert feed.counts().duplicates == 0


async def test_an_acknowledgement_that_was_not_heard_is_repeated() -> None:
    """Until the source hears it the message is held; a feed that ends first leaves it unsettled."""
    source = SampleSource(["a"])
    source.failing.add("acknowledge")
    async with queue_of(echo) as queue:
        async with running(feed := Feed(queue, source)):
            await until(lambda: feed.counts().held == 1 and feed._owed != [])
            source.failing.clear()
            await until(lambda: feed.counts() == FeedCounts(fetched=1, acknowledged=1))
        source = SampleSource(["b"])
        source.failing.add("acknowledge")
        async with running(feed := Feed(queue, source)) as run:
            await until(lambda: feed._owed != [])
            feed.stop()
            await run
        assert feed.counts() == FeedCounts(fetched=1, unsettled=1)


async def test_extending_goes_on_when_it_failed_once() -> None:
    """A heart that could not be heard beats on."""
    gate = Gate()
    source = SampleSource(["slow"], hold=0.03)
    source.failing.add("extend")
    async with queue_of(gate.handle) as queue, running(Feed(queue, source)):
        await until(lambda: gate.inside == ["slow"])
        await asyncio.sleep(0.05)
        source.failing.clear()
        await until(lambda: source.extended["1"] >= 1)
        gate.open.set()


# -- mistakes --


@pytest.mark.parametrize(
    "options", [{"max_in_flight": 0}, {"max_bytes": 0}, {"max_deliveries": 0}, {"duplicate_window": -1}]
)
async def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    """The error names the parameter."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        Feed(queue_of(echo), SampleSource(), **options)


async def test_a_feed_runs_once() -> None:
    """A second run would mix two accounts."""
    source = SampleSource([1])
    async with asyncio.timeout(BOUND), queue_of(echo) as queue:
        feed = Feed(queue, source)
        await feed.run(until_empty=True)
        with pytest.raises(ConfigError, match="runs once"):
            await feed.run()
        assert "acknowledged=1" in repr(feed)


def states(queue: CollectorQueue) -> list[str]:
    """Return the states of the feeds in a snapshot."""
    return [one.state for one in queue.snapshot().feeds]


async def test_a_snapshot_tells_of_the_feed() -> None:
    """While it runs: counts, rates, and whether the queue holds it back; afterwards its end stays for a while."""
    source, gate = SampleSource(range(5)), Gate()
    async with queue_of(gate.handle) as queue:
        assert queue.snapshot().feeds == []
        async with running(feed := Feed(queue, source, max_in_flight=2, duplicate_window=60.0)):
            await until(lambda: any(one.is_held_back for one in queue.snapshot().feeds))
            (one,) = queue.snapshot().feeds
            assert (one.name, one.state, one.duplicate_window, one.is_healthy) == ("sample", "running", 60.0, True)
            assert one.counts == feed.counts()
            assert one.held_bytes == one.counts.held > 0
            gate.open.set()
            await until(lambda: feed.counts().acknowledged == 5)
            (one,) = queue.snapshot().feeds
            assert one.remembered == 5
            assert one.acknowledge_rate is not None
            await until(lambda: not queue.snapshot().feeds[0].is_held_back)
        (one,) = queue.snapshot().feeds
        assert (one.state, one.counts.acknowledged, one.last_error) == ("ended", 5, "")


async def test_a_snapshot_has_the_last_error_of_the_source() -> None:
    """It stays when the source answers again, and when the feed could not begin or was ended by an error."""
    source = SampleSource(["a"])
    source.failing.add("fetch")
    async with queue_of(echo) as queue:
        async with running(feed := Feed(queue, source)):
            await until(lambda: "lost" in states(queue))
            assert not queue.snapshot().feeds[0].is_healthy
            lost = queue.snapshot().feeds[0].last_error
            source.failing = {"acknowledge"}
            await until(lambda: "failing" in states(queue))
            source.failing.clear()
            await until(lambda: feed.counts().acknowledged == 1)
            (one,) = queue.snapshot().feeds
            assert (one.state, bool(lost), bool(one.last_error)) == ("running", True, True)
            assert one.last_error_time > 0
        source.failing.add("open")
        with pytest.raises(SourceError):
            await (feed := Feed(queue, source)).run()
        (one,) = queue.snapshot().feeds
        assert (one.state, bool(one.last_error)) == ("ended", True)
        source.failing.clear()
        source.waiting.append(make(2, "b"))

        async def refuse(_: Sequence[Finished]) -> None:
            raise ZeroDivisionError("no database")

        with pytest.raises(ZeroDivisionError):
            await Feed(queue, source, on_finished=refuse).run()
        assert queue.snapshot().feeds[0].last_error.endswith("no database")
