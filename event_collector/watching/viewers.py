"""Viewers: every connection to a socket gets a line at once and a new one every interval, the same for all.

No viewer can hold up the program. One line is made for all, sends do not block, and no more is read than one request.
A viewer that has not taken the previous line is skipped, so at most one line is pending for each. A viewer that is
behind for more than `PATIENCE` seconds, or that sends anything but the request for details, is disconnected. Without
viewers no timer runs.

    accept --> the last line, or a new one if that is old --> a new line every INTERVAL seconds --> disconnect

A viewer that has asked for details gets a line of them after each of the others. They are recorded from the first such
viewer to the end of the last one.
"""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol

from event_collector.watching.details import REQUEST, Details, encode_details

INTERVAL: Final = 1.0
"""Seconds between two lines."""
MOST: Final = 64
"""Viewers at a time. A new one replaces one that is behind, or else the oldest, so that a probe always gets in."""
ADMITTED: Final = 32
"""Connections accepted in one interval. Others stay in the backlog of the socket, at no cost."""
PATIENCE: Final = 30.0
"""Seconds that a viewer may take for a line."""


class DetailSource(Protocol):
    """Records and makes details."""

    def begin(self) -> None:
        """Record details from now on. A no-op while they are."""

    def end(self) -> None:
        """Record nothing any more. A no-op if nothing is recorded."""

    def look(self, *, with_settings: bool, cost: float) -> Details:
        """Return the details since the last call; `cost`: seconds that the lines before have taken of the loop."""


class Viewers:
    """Serves a listening, non-blocking socket in the thread of the running event loop, until `close()`.

    `make_line` returns the next line. It is called once an interval, and only while viewers are connected; `log` gets a
    line when it raises. `details` makes the lines of viewers that have asked for more; None: nobody can. `interval` and
    `patience` are in seconds.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_line: Callable[[], bytes],
        log: Any,
        details: DetailSource | None = None,
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
    ) -> None:
        self._listener, self._make_line, self._log = listener, make_line, log
        self._interval, self._patience = interval, patience
        self._loop = asyncio.get_running_loop()
        self._viewers: list[_Viewer] = []
        self._timer: asyncio.TimerHandle | None = None
        self._line = self._details_line = b""
        self._details = details
        self._cost = 0.0  # of the last lines, in seconds
        self._made_at = -interval
        self._admitted = 0
        self._loop.add_reader(listener, self._accept)

    def __len__(self) -> int:
        return len(self._viewers)

    def __repr__(self) -> str:
        behind = sum(viewer.is_behind for viewer in self._viewers)
        return f"<Viewers {len(self)} connected, {behind} behind>"

    def close(self) -> None:
        """Send a last line to the viewers that can take it, and disconnect all."""
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()
        if self._viewers:
            self._renew()
            self._renew_details()
            self._send()
        for viewer in self._viewers:
            viewer.close()
        self._viewers.clear()
        self._end_details()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no file descriptor left: try again after this interval
            self._admitted = ADMITTED
        else:
            self._admitted += 1
            self._admit(_Viewer(self._loop, connection))
        if self._admitted >= ADMITTED:
            self._loop.remove_reader(self._listener)
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._tick)

    def _admit(self, viewer: "_Viewer") -> None:
        if len(self._viewers) >= MOST:
            leaves = next((one for one in self._viewers if one.is_behind), self._viewers[0])
            self._viewers.remove(leaves)
            leaves.close()
        if monotonic() - self._made_at >= self._interval:
            self._renew()
        self._viewers.append(viewer)
        viewer.offer(self._line)

    def _tick(self) -> None:
        self._timer = None
        if self._admitted >= ADMITTED:
            self._loop.add_reader(self._listener, self._accept)
        self._admitted = 0
        for viewer in self._viewers:
            viewer.check(self._patience)
        self._viewers = [viewer for viewer in self._viewers if not viewer.is_gone]
        if self._viewers:
            self._timer = self._loop.call_later(self._interval, self._tick)
            self._renew()
            self._renew_details()
            self._send()
        else:
            self._end_details()

    def _renew(self) -> None:
        """Make a new line for all."""
        self._made_at = monotonic()
        self._line = self._made("no snapshot could be made for those who watch the queue", self._make_line)
        self._cost = monotonic() - self._made_at

    def _renew_details(self) -> None:
        """Make a new line for those who have asked for details: all of them get it, since each covers its time only."""
        began = monotonic()
        self._details_line = self._made("no details could be made for those who watch the queue", self._make_details)
        self._cost += monotonic() - began

    def _made(self, trouble: str, make: Callable[[], bytes]) -> bytes:
        try:
            return make()
        except Exception as exc:  # it must not harm the queue
            self._log.error(trouble, exc_info=exc)
            return b""

    def _make_details(self) -> bytes:
        asking = [viewer for viewer in self._viewers if viewer.wants_details]
        if self._details is None or not asking:
            self._end_details()
            return b""
        self._details.begin()
        is_first = any(not viewer.has_details for viewer in asking)
        return encode_details(self._details.look(with_settings=is_first, cost=self._cost))

    def _end_details(self) -> None:
        if self._details is not None:
            self._details.end()

    def _send(self) -> None:
        both = self._line + self._details_line
        for viewer in self._viewers:
            if viewer.wants_details:
                viewer.offer(both, with_details=bool(self._details_line))
            else:
                viewer.offer(self._line)


class _Viewer:
    """One connection, and the unsent rest of a line."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._loop, self._socket = loop, connection
        self._unsent = memoryview(b"")
        self._behind_since = 0.0
        self._request = b""  # the part that has come
        self.has_details = False
        self.is_gone = False

    @property
    def is_behind(self) -> bool:
        return bool(self._unsent)

    @property
    def wants_details(self) -> bool:
        return self._request == REQUEST

    def offer(self, line: bytes, *, with_details: bool = False) -> None:
        if self.is_gone or self.is_behind:
            return
        self.has_details = self.has_details or with_details
        self._unsent = memoryview(line)
        self._flush()
        if self.is_behind and not self.is_gone:
            self._behind_since = monotonic()
            self._loop.add_writer(self._socket, self._resume)

    def _resume(self) -> None:
        self._flush()
        if not self.is_behind and not self.is_gone:
            self._loop.remove_writer(self._socket)

    def _flush(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()

    def check(self, patience: float) -> None:
        if self.is_gone or (self.is_behind and monotonic() - self._behind_since > patience):
            self.close()
            return
        try:
            received = self._socket.recv(len(REQUEST) + 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            received = b""
        self._request += received
        if not received or not REQUEST.startswith(self._request):  # end of file and other data alike
            self.close()

    def close(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        if self.is_behind:
            self._loop.remove_writer(self._socket)
        self._unsent = memoryview(b"")
        self._socket.close()
