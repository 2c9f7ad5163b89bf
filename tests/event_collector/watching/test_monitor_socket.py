"""The monitor socket of a queue: its file, its permissions, and viewers that cannot hold up the queue."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, ConfigError, Context, MonitorError, Payload
from event_collector.watching.details import REQUEST, Details, decode_details
from event_collector.watching.monitor_socket import MonitorSocket
from event_collector.watching.snapshot import Snapshot, decode_snapshot
from event_collector.watching.socket_file import SocketFile
from event_collector.watching.viewers import MOST, Viewers
from tests.event_collector.modes import BOUND, Log

SOON = 0.01  # seconds between two lines, in tests


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.002)


def watched(path: Path, **options: Any) -> CollectorQueue:
    return CollectorQueue([Collector("echo", echo)], monitor=path, logging=False, **options)


async def read_snapshot(path: Path) -> Snapshot:
    """Return the first snapshot that a socket sends."""
    async with asyncio.timeout(BOUND):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            return decode_snapshot((await reader.readline()).rstrip())
        finally:
            writer.close()


# -- the file --


async def test_the_socket_is_for_its_user_and_there_while_the_queue_runs(tmp_path: Path) -> None:
    """It has mode 0600 whatever the umask, and is gone at the end; the queue can start again."""
    path = tmp_path / "queue.sock"
    queue, before = watched(path), os.umask(0)
    try:
        for _ in range(2):
            async with asyncio.timeout(BOUND), queue:
                there = path.lstat()
                assert stat.S_ISSOCK(there.st_mode)
                assert stat.S_IMODE(there.st_mode) == 0o600
            assert not path.exists()
    finally:
        os.umask(before)


async def test_the_socket_of_a_dead_program_is_replaced(tmp_path: Path) -> None:
    """A socket on which no process listens is removed."""
    path = tmp_path / "queue.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with asyncio.timeout(BOUND), watched(path):
        assert (await read_snapshot(path)).pid == os.getpid()
    assert not path.exists()


async def test_a_socket_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A second queue with the same path does not start and names the owner; the first still answers."""
    path = tmp_path / "queue.sock"
    async with asyncio.timeout(BOUND), watched(path):
        second = watched(path)
        with pytest.raises(MonitorError, match=rf"in use by another queue of this process, pid {os.getpid()}"):
            await second.init_queue()
        assert (await read_snapshot(path)).state == "running"


@contextmanager
def in_the_way(kind: str, path: Path) -> Iterator[None]:
    """Put something at a path, and check that it stays unchanged."""
    other = path.with_name("other")
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        other.write_text("precious")
        path.symlink_to(other)
    before = path.lstat()
    yield
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert kind == "folder" or path.read_text() == "precious"


@pytest.mark.parametrize(("kind", "named"), [("file", "a file"), ("folder", "a folder"), ("link", "a symbolic link")])
async def test_what_is_no_socket_is_not_touched(kind: str, named: str, tmp_path: Path) -> None:
    """A file, a folder and a link in the way are refused, and stay."""
    path = tmp_path / "queue.sock"
    with in_the_way(kind, path):
        with pytest.raises(MonitorError, match=f"{named} is there, which is not touched"):
            await watched(path).init_queue()


async def test_the_socket_of_another_user_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead socket of another user is refused, and stays."""
    path = tmp_path / "queue.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(MonitorError, match=rf"the user with id {os.getuid()} has one there"):
        await watched(path).init_queue()
    assert path.is_socket()


async def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """The error names the missing folder, and the queue has not started."""
    queue = watched(tmp_path / "nowhere" / "queue.sock")
    with pytest.raises(MonitorError, match=r"No such file or directory\. It needs a folder that exists"):
        await queue.init_queue()
    assert not queue.is_running


@pytest.mark.parametrize("path", ["", b"bytes", 7, "x" * 200, "zero\0byte"])
def test_a_path_that_no_socket_can_have_is_refused(path: Any) -> None:
    """The queue cannot be made: a ConfigError explains why."""
    with pytest.raises(ConfigError, match="monitor"):
        CollectorQueue([Collector("echo", echo)], monitor=path)


def test_a_file_that_took_its_place_is_not_removed(tmp_path: Path) -> None:
    """A file that has replaced the socket stays."""
    file = SocketFile(str(tmp_path / "queue.sock"))
    (tmp_path / "queue.sock").unlink()
    (tmp_path / "queue.sock").write_text("another's")
    file.close()
    assert (tmp_path / "queue.sock").read_text() == "another's"


# -- what is shown --


async def test_a_queue_can_be_watched_from_its_start_to_its_end(tmp_path: Path) -> None:
    """A viewer sees the queue start, run, drain and stop, and then the end of the connection."""
    path, opened, release = tmp_path / "queue.sock", asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        opened.set()
        await release.wait()
        yield

    async def hold(payload: Payload[Any], ctx: Context) -> None:
        await payload.value.wait()

    queue = CollectorQueue([Collector("hold", hold, lifecycle=lifecycle)], monitor=path, logging=False)
    done = asyncio.Event()
    async with asyncio.timeout(BOUND):
        start = asyncio.create_task(queue.init_queue())
        await opened.wait()
        assert (await read_snapshot(path)).state == "starting"
        release.set()
        await start
        await queue.get_publisher().send(Payload(done))
        reader, writer = await asyncio.open_unix_connection(path)
        end = asyncio.create_task(queue.shut_down_queue())
        states = []
        while line := await reader.readline():
            snapshot = decode_snapshot(line)
            states.append(snapshot.state)
            if snapshot.state == "draining":
                done.set()
        writer.close()
        await end
    assert states[-2:] == ["draining", "stopped"]
    assert (snapshot.events.accepted, snapshot.events.finished, snapshot.collectors[0].events) == (1, 1, 1)


# -- viewers --


@asynccontextmanager
async def served(
    path: Path, make_line: Callable[[], bytes], log: Any = None, details: Any = None, **options: float
) -> AsyncIterator[Viewers]:
    """Serve lines at a path."""
    file = SocketFile(str(path))
    viewers = Viewers(file.socket, make_line, log or Log(), details, **{"interval": SOON, **options})
    try:
        async with asyncio.timeout(BOUND):
            yield viewers
    finally:
        viewers.close()
        file.close()


class Lines:
    """Makes numbered lines, and counts them."""

    def __init__(self, size: int = 0) -> None:
        self.made = 0
        self._padding = b"." * size

    def __call__(self) -> bytes:
        self.made += 1
        return b"%d%b\n" % (self.made, self._padding)


async def test_no_line_is_made_without_viewers(tmp_path: Path) -> None:
    """No line is made and no timer runs, before the first viewer and after the last."""
    lines = Lines()
    async with served(tmp_path / "s", lines) as viewers:
        assert (lines.made, viewers._timer) == (0, None)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert await reader.readline() == b"1\n"
        writer.close()
        await until(lambda: viewers._timer is None)
        assert len(viewers) == 0
        made = lines.made
        await asyncio.sleep(10 * SOON)
        assert lines.made == made
    assert lines.made == made


async def test_all_viewers_share_one_line(tmp_path: Path) -> None:
    """One line is made in an interval, and all viewers get it."""
    lines = Lines()
    async with served(tmp_path / "s", lines, interval=0.2) as viewers:
        connected = [await asyncio.open_unix_connection(tmp_path / "s") for _ in range(20)]
        await until(lambda: len(viewers) == 20)
        for number in (b"1\n", b"2\n", b"3\n"):
            assert {await reader.readline() for reader, _ in connected} == {number}
        assert lines.made <= 4
        for _, writer in connected:
            writer.close()


async def test_a_viewer_that_does_not_read_is_left_out_and_let_go(tmp_path: Path) -> None:
    """One line at most is pending for it, the others are served, and it is disconnected after `patience` seconds."""
    lines = Lines(size=1_000_000)  # more than the system takes for it
    async with served(tmp_path / "s", lines, patience=20 * SOON) as viewers:
        with socket.socket(socket.AF_UNIX) as lazy:
            lazy.connect(str(tmp_path / "s"))
            await until(lambda: len(viewers) == 1)
            behind = viewers._viewers[0]
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s", limit=4_000_000)
            for _ in range(5):
                await reader.readline()
            assert len(behind._unsent) <= 1_000_010
            await until(lambda: behind.is_gone)
            assert await reader.readline()
            writer.close()


async def test_a_slow_viewer_gets_whole_lines(tmp_path: Path) -> None:
    """Lines sent in pieces arrive whole and in order, with some of them skipped."""
    async with served(tmp_path / "s", Lines(size=1_000_000)):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s", limit=4_000_000)
        numbers = []
        for _ in range(4):
            line = await reader.readline()
            assert line.endswith(b"." * 1_000_000 + b"\n")
            numbers.append(int(line.partition(b".")[0]))
            await asyncio.sleep(5 * SOON)
        assert numbers == sorted(set(numbers))
        writer.close()


async def test_a_viewer_that_sends_something_is_let_go(tmp_path: Path) -> None:
    """A viewer that floods the socket fills its own buffer, and is disconnected."""
    async with served(tmp_path / "s", Lines()) as viewers:
        _, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"x" * 10_000_000)
        await until(lambda: len(viewers) == 0)
        writer.transport.abort()


class Source:
    """A source of details that notes what it is asked for."""

    def __init__(self) -> None:
        self.is_recording = False
        self.asked: list[bool] = []

    def begin(self) -> None:
        self.is_recording = True

    def end(self) -> None:
        self.is_recording = False

    def look(self, *, with_settings: bool, cost: float) -> Details:
        assert self.is_recording
        assert cost >= 0
        self.asked.append(with_settings)
        return Details(number=len(self.asked))


async def test_details_are_made_only_for_viewers_that_ask(tmp_path: Path) -> None:
    """They follow each line of those viewers, with the settings for each new one; others get none."""
    source = Source()
    async with served(tmp_path / "s", Lines(), details=source) as viewers:
        plain, plain_writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert [await plain.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
        assert (source.is_recording, source.asked) == (False, [])
        asking, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(REQUEST[:3])
        await asking.readline()
        writer.write(REQUEST[3:])
        while (line := await asking.readline()).strip().isdigit():
            pass
        details = decode_details(line)
        assert details is not None
        assert details.number == 1
        assert (await asking.readline()).strip().isdigit()
        details = decode_details(await asking.readline())
        assert details is not None
        assert details.number == 2
        assert source.asked[:2] == [True, False]
        assert (await plain.readline()).strip().isdigit()
        writer.close()
        await until(lambda: not source.is_recording)
        asked = len(source.asked)
        await plain.readline()
        assert (len(viewers), len(source.asked)) == (1, asked)
        plain_writer.close()


@pytest.mark.parametrize("request_", [b"detail\n", b"details\n\n", b"DETAILS\n", b"\n"])
async def test_any_other_request_ends_the_connection(request_: bytes, tmp_path: Path) -> None:
    """What is not exactly the request is none."""
    source = Source()
    async with served(tmp_path / "s", Lines(), details=source) as viewers:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        await reader.readline()
        writer.write(request_)
        await until(lambda: len(viewers) == 0)
        writer.close()


async def test_details_that_cannot_be_made_harm_nobody(tmp_path: Path) -> None:
    """It is logged, and snapshots go on."""
    source, log = Source(), Log()
    source.begin = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    async with served(tmp_path / "s", Lines(), log, details=source):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(REQUEST)
        await until(lambda: bool(log.of("no details could be made for those who watch the queue")))
        assert (await reader.readline()).strip().isdigit()
        writer.close()


async def test_there_is_always_room_for_one_more(tmp_path: Path) -> None:
    """With as many viewers as there may be, the oldest goes, and the new one gets its line at once."""
    with ExitStack() as stack:
        async with served(tmp_path / "s", Lines(), interval=0.05) as viewers:
            for number in range(MOST):
                idle = stack.enter_context(socket.socket(socket.AF_UNIX))
                idle.setblocking(False)
                await asyncio.get_running_loop().sock_connect(idle, str(tmp_path / "s"))
                await until(lambda number=number: len(viewers) > number)  # type: ignore[misc]
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            assert await reader.readline()
            assert len(viewers) <= MOST
            writer.close()


async def test_a_line_that_cannot_be_made_harms_nobody(tmp_path: Path) -> None:
    """It is logged, and the viewers get the next one."""
    lines, log = Lines(), Log()

    def make_line() -> bytes:
        if lines.made == 0:
            lines.made = 1
            raise ValueError("broken")
        return lines()

    async with served(tmp_path / "s", make_line, log):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert await reader.readline() == b"2\n"
        writer.close()
    assert log.of("no snapshot could be made for those who watch the queue")


async def test_the_parts_of_a_socket_show_their_state(tmp_path: Path) -> None:
    """Their representation has the path, and the number of viewers."""
    path = tmp_path / "s"
    async with served(path, Lines()) as viewers:
        assert repr(viewers) == "<Viewers 0 connected, 0 behind>"
        _, writer = await asyncio.open_unix_connection(path)
        await until(lambda: len(viewers) == 1)
        assert repr(viewers) == "<Viewers 1 connected, 0 behind>"
        writer.close()
    queue_socket = MonitorSocket(path, lambda: pytest.fail("nobody looks"), lambda _pid: [], Log())
    assert repr(queue_socket) == f"<MonitorSocket {path}: closed>"
    queue_socket.open()
    assert repr(queue_socket) == f"<MonitorSocket {path}: 0 viewers>"
    queue_socket.close()
    assert repr(queue_socket) == f"<MonitorSocket {path}: closed>"
