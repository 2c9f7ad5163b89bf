"""The control socket: typed requests over a real socket, what they do to a queue, and what bad ones cannot do."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, EventCancelled, Monitor, Payload, QueueShutDown, Retry
from event_collector.control.control_client import ControlClient
from event_collector.control.control_messages import (
    LONGEST_REQUEST,
    SUFFIX,
    Answer,
    CancelRequest,
    ControlState,
    Done,
    DrainRequest,
    DropRequest,
    Failed,
    LetterPage,
    LettersRequest,
    PauseRequest,
    ProfilePage,
    ProfileRequest,
    ReplaceRequest,
    ReplayRequest,
    Request,
    ResizeRequest,
    ResumeRequest,
    Selection,
    StackPage,
    StackRequest,
    StateRequest,
)
from event_collector.control.control_socket import MOST_CLIENTS
from event_collector.watching.socket_lines import SocketLines, Unreachable
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import BOUND, Log, until

Ask = Callable[[Request], Awaitable[Answer]]


async def refuse(payload: Payload[Any], ctx: Context) -> Any:
    """Raise what the payload says; return other payloads."""
    if isinstance(payload.value, str):
        raise ValueError(payload.value)
    return payload.value


@contextlib.asynccontextmanager
async def controlled(
    path: Path, *collectors: Collector, payloads: bool = False, **options: Any
) -> AsyncIterator[tuple[CollectorQueue, Ask]]:
    """Run a queue, and return it with what asks its control socket, over one connection."""
    queue = CollectorQueue(
        list(collectors), logging=False, monitor=Monitor(path, control=True, payloads=payloads), **options
    )
    async with asyncio.timeout(BOUND), queue:
        with contextlib.closing(ControlClient(path)) as client:
            yield queue, lambda request: asyncio.to_thread(client.ask, request)


def done(answer: Answer) -> str:
    """Return the text of an action that was carried out."""
    assert isinstance(answer, Done), answer
    return answer.text


def refused(answer: Answer) -> str:
    assert isinstance(answer, Failed), answer
    return answer.text


async def test_pauses_and_bounds_can_be_set_over_one_connection(tmp_path: Path) -> None:
    """Each action says first what it would do, then does it, and the state and the accounting agree."""
    log = Log()
    async with controlled(tmp_path / "s", Collector("c", refuse), log=log) as (queue, ask):
        assert "would pause collector 'c'; waiting: 0 events" in done(
            await ask(PauseRequest(collector="c", dry_run=True))
        )
        assert queue.control.paused_collectors == ()
        assert done(await ask(PauseRequest(collector="c"))) == "paused collector 'c'; waiting: 0 events"
        assert done(await ask(PauseRequest())) == "paused the queue; waiting: 0 events"
        event = await queue.get_publisher().send(1)
        state = await ask(StateRequest())
        assert isinstance(state, ControlState)
        assert (state.is_paused, state.paused_collectors, state.state) == (True, ["c"], "running")
        assert queue.accounting().queued == 1
        assert done(await ask(ResumeRequest())) == "resumed the queue; waiting: 1 event"
        assert not event.is_done()
        assert done(await ask(ResumeRequest(collector="c"))) == "resumed collector 'c'; waiting: 1 event"
        assert await event.value() == 1
        assert done(await ask(ResumeRequest())) == "the queue is not paused"

        assert done(await ask(ResizeRequest(max_consumers=3, dry_run=True))) == "would set max_consumers 100000 -> 3"
        assert queue.max_consumers == 100_000
        assert done(await ask(ResizeRequest(max_consumers=3))) == "max_consumers 100000 -> 3"
        assert queue.max_consumers == 3
        assert queue.changes()[-1].subject == "max_consumers"
        assert "there is no collector 'x'" in refused(await ask(PauseRequest(collector="x")))
        assert "give max_workers" in refused(await ask(ResizeRequest()))
    assert {event for _, event, _ in log.lines} >= {"paused", "resumed", "bound changed", "control request"}


async def test_a_lower_bound_holds_at_once_and_a_higher_one_lets_the_pool_grow(tmp_path: Path) -> None:
    """Events beyond it finish first; no more than it allows are in handlers from then on."""
    gate = asyncio.Event()

    async def hold(payload: Payload[int], ctx: Context) -> int:
        await gate.wait()
        return payload.value

    async with controlled(tmp_path / "s", Collector("c", hold), max_consumers=4) as (queue, ask):
        events = await queue.get_publisher().send_many(range(20))
        await until(lambda: queue.accounting().in_handlers == 4, "four run")
        done(await ask(ResizeRequest(max_consumers=2)))
        assert queue.consumer_count() == 2
        events[0].cancel()
        await events[0].wait()
        assert queue.accounting().in_handlers == 3
        done(await ask(ResizeRequest(max_consumers=7)))
        await until(lambda: queue.accounting().in_handlers == 7, "seven run")
        gate.set()
        assert [await event.value() for event in events[1:]] == list(range(1, 20))


async def test_workers_are_bounded_replaced_and_looked_into(tmp_path: Path) -> None:
    """A replaced worker loses no event. Its stack and its profile show the handler."""
    path = tmp_path / "s"
    async with controlled(path, Collector("c", handlers.act), min_workers=1, max_workers=1) as (queue, ask):
        send = queue.get_publisher().send
        first = await (await send(["pid", 0])).value()
        assert f"pid {first}" in done(await ask(ReplaceRequest(worker=0, dry_run=True)))
        events = await queue.get_publisher().send_many(["pid", 0] for _ in range(200))
        assert f"pid {first}" in done(await ask(ReplaceRequest(worker=first)))
        pids = {await event.value() for event in events}
        while pids == {first}:
            pids = {await (await send(["pid", 0])).value()}
        assert "no ready worker 99999" in refused(await ask(ReplaceRequest(worker=99999)))
        assert done(await ask(ResizeRequest(max_workers=2))) == "max_workers 1 -> 2"

        napping = await send(["sleep", 1000])
        await until(lambda: any(w.job_seconds for w in queue.snapshot().workers), "it sleeps")
        stacks = await ask(StackRequest())
        assert isinstance(stacks, StackPage)
        assert any("in serve" in one.text or "in act" in one.text for one in stacks.stacks if one.pid != os.getpid())
        profile = await ask(ProfileRequest(seconds=0.2, interval=0.02))
        assert isinstance(profile, ProfilePage)
        assert profile.looks >= 1
        assert any(frame.startswith("act (") for one in profile.stacks for frame in one.frames)
        assert {one.pid for one in profile.stacks} >= {os.getpid()}
        assert "has begun" in done(await ask(CancelRequest(event=napping.id, dry_run=True)))
        assert "cancelled event" in done(await ask(CancelRequest(event=napping.id)))
        assert isinstance((await napping.wait()).first().err, EventCancelled)  # type: ignore[union-attr]
        assert "waits or runs" in refused(await ask(CancelRequest(event=napping.id)))


async def test_dead_letters_are_listed_replayed_and_dropped(tmp_path: Path) -> None:
    """One, a group by its error, and all that match. Payloads are shown only if the program says so."""
    path = tmp_path / "s"
    async with controlled(path, Collector("c", refuse, retry=Retry(1)), payloads=True) as (queue, ask):
        events = await queue.get_publisher().send_many(["a\nmore", "a\nother", "b", "b", "b"])
        for event in events:
            await event.wait()
        page = await ask(LettersRequest(limit=2))
        assert isinstance(page, LetterPage)
        assert [(one.error, one.count) for one in page.groups] == [("ValueError: b", 3), ("ValueError: a", 2)]
        assert (page.total, [one.payload for one in page.letters]) == (5, ["'b'", "'b'"])
        group = Selection(collector="c", error="ValueError: b")
        assert done(await ask(DropRequest(selection=group, dry_run=True))) == "would drop 3 dead letters"
        assert done(await ask(DropRequest(selection=Selection(event=events[2].id)))) == "dropped 1 dead letter"
        assert done(await ask(DropRequest(selection=group))) == "dropped 2 dead letters"
        assert len(queue.dead_letters) == 2
        assert done(await ask(ReplayRequest(selection=Selection(error="ValueError")))) == "replayed 2 dead letters"
        await until(lambda: len(queue.dead_letters) == 2, "they have failed again")
        assert done(await ask(DropRequest(selection=Selection()))) == "dropped 2 dead letters"
        assert queue.accounting().dead == 0


async def test_a_drain_begins_the_shutdown(tmp_path: Path) -> None:
    """What is accepted is finished, what is sent after it is refused, and the socket is gone at the end."""
    path = tmp_path / "s"
    async with controlled(path, Collector("c", refuse)) as (queue, ask):
        event = await queue.get_publisher().send(1)
        assert "would begin the shutdown" in done(await ask(DrainRequest(dry_run=True)))
        assert "the shutdown has begun" in done(await ask(DrainRequest()))
        assert await event.value() == 1
        await until(lambda: not queue.is_running, "it has ended")
        with pytest.raises(QueueShutDown):
            await queue.get_publisher().send(2)
        with pytest.raises(Unreachable):
            await ask(StateRequest())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"pause", "this is no request"),
        (b"[]", "Expected `object`"),
        (b"\xff\x00", "this is no request"),
        (b'{"verb":"rm"}', "Invalid value 'rm'"),
        (b'{"verb":"pause","who":"me"}', "unknown field `who`"),
        (b'{"verb":"resize","max_workers":0}', ">= 1"),
        (b'{"verb":"resize","max_workers":1e400}', "this is no request"),
        (b'{"verb":"cancel","event":-1}', ">= 0"),
        (b'{"verb":"replay"}', "missing required field `selection`"),
        (b'{"verb":"pause","collector":"' + b"k" * 5000 + b'"}', "length <= 4096"),
        (b'{"a":' * 20_00, "this is no request"),
    ],
)
async def test_a_bad_request_gets_its_reason_and_harms_nothing(line: bytes, reason: str, tmp_path: Path) -> None:
    """The connection goes on with the next request."""
    async with controlled(tmp_path / "s", Collector("c", refuse)) as (queue, _):
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path / 's'}{SUFFIX}")
        writer.write(line + b"\n" + b'{"verb":"state"}\n')
        answer = json.loads(await reader.readline())
        assert answer["answer"] == "failed"
        assert reason in answer["text"]
        assert json.loads(await reader.readline())["answer"] == "state"
        writer.close()
        assert await (await queue.get_publisher().send(1)).value() == 1


async def test_what_clients_may_take_is_bounded(tmp_path: Path) -> None:
    """A line that is too long ends its connection with a reason. One client too many is told so."""
    path = f"{tmp_path / 's'}{SUFFIX}"
    async with controlled(tmp_path / "s", Collector("c", refuse)):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * (LONGEST_REQUEST + 1))
        assert b"a request has at most" in await reader.readline()
        writer.close()
        clients = [await asyncio.to_thread(SocketLines, path, BOUND, LONGEST_REQUEST) for _ in range(MOST_CLIENTS + 2)]
        with contextlib.ExitStack() as until_the_end:
            for one in clients:
                until_the_end.callback(one.close)
            assert b"clients are connected already" in (await asyncio.to_thread(clients[-1].next, BOUND) or b"")


async def test_a_blocked_event_loop_is_told_and_seen(tmp_path: Path, hurried: Callable[[float], None]) -> None:
    """An action says that nothing was done, and nothing is done later. A stack shows what blocks."""
    found: list[Answer] = []
    hurried(0.2)

    async def block(payload: Payload[Any], ctx: Context) -> None:
        def ask_all() -> None:
            with contextlib.closing(ControlClient(tmp_path / "s")) as client:
                found.extend([client.ask(StackRequest(pid=os.getpid())), client.ask(PauseRequest())])

        thread = threading.Thread(target=ask_all)
        thread.start()
        thread.join(BOUND)

    async with controlled(tmp_path / "s", Collector("c", block)) as (queue, ask):
        await (await queue.get_publisher().send(1)).wait()
        stacks, pause = found
        assert isinstance(stacks, StackPage)
        assert any("in block" in one.text for one in stacks.stacks)
        assert "the event loop is blocked" in refused(pause)
        assert isinstance(await ask(StateRequest()), ControlState)
        assert not queue.control.is_paused


async def test_the_socket_is_for_its_user_and_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """It has mode 0600 and is gone with its threads at the end. Without control=True, a client is told why."""
    path = tmp_path / "s"
    async with controlled(path, Collector("c", refuse)):
        assert stat.S_IMODE(os.stat(f"{path}{SUFFIX}").st_mode) == 0o600
    assert os.listdir(tmp_path) == []
    deadline = time.monotonic() + BOUND
    while any(thread.name.startswith("event control") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    async with CollectorQueue([Collector("c", refuse)], logging=False, monitor=path):
        with pytest.raises(Unreachable, match=r"make it with monitor=Monitor\(path, control=True\)"):
            ControlClient(path)


async def test_a_client_that_leaves_early_costs_nothing(tmp_path: Path) -> None:
    """Its request is carried out, and others are answered."""
    async with controlled(tmp_path / "s", Collector("c", refuse)) as (queue, ask):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path / 's'}{SUFFIX}")
            client.sendall(b'{"verb":"pause"}\n')
        await until(lambda: queue.control.is_paused, "the pause")
        done(await ask(ResumeRequest()))
