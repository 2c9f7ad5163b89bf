"""Viewers: every connection to a socket gets a line at once and a new one every interval, the same for all.

No viewer can hold up the program. One line is made for all, sends do not block, and nothing is read. A viewer that has
not taken the previous line is skipped, so at most one line is pending for each. A viewer that is behind for more than
`PATIENCE` seconds, or that sends something, is disconnected. Without viewers no timer runs.

    accept --> the last line, or a new one if that is old --> a new line every INTERVAL seconds --> disconnect
"""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

INTERVAL: Final = 1.0
"""Seconds between two lines."""
MOST: Final = 64
"""Viewers at a time. A new one replaces one that is behind, or else the oldest, so that a probe always gets in."""
ADMITTED: Final = 32
"""Connections accepted in one interval. Others stay in the backlog of the socket, at no cost."""
PATIENCE: Final = 30.0
"""Seconds that a viewer may take for a line."""


class Viewers:
    """Serves a listening, non-blocking socket in the thread of the running event loop, until `close()`.

    `make_line` returns the next line. It is called once an interval, and only while viewers are connected; `log` gets a
    line when it raises. `interval` and `patience` are in seconds.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_line: Callable[[], bytes],
        log: Any,
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
    ) -> None:
        self._listener, self._make_line, self._log = listener, make_line, log
        self._interval, self._patience = interval, patience
        self._loop = asyncio.get_running_loop()
        self._viewers: list[_Viewer] = []
        self._timer: asyncio.TimerHandle | None = None
        self._line = b""
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
            self._send()
        for viewer in self._viewers:
            viewer.close()
        self._viewers.clear()

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
            self._send()

    def _renew(self) -> None:
        self._made_at = monotonic()
        try:
            self._line = self._make_line()
        except Exception as exc:  # a failed snapshot must not harm the queue
            self._line = b""
            self._log.error("no snapshot could be made for those who watch the queue", exc_info=exc)

    def _send(self) -> None:
        for viewer in self._viewers:
            viewer.offer(self._line)


class _Viewer:
    """One connection, and the unsent rest of a line."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._loop, self._socket = loop, connection
        self._unsent = memoryview(b"")
        self._behind_since = 0.0
        self.is_gone = False

    @property
    def is_behind(self) -> bool:
        return bool(self._unsent)

    def offer(self, line: bytes) -> None:
        if self.is_gone or self.is_behind:
            return
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
            self._socket.recv(1)  # end of file and data alike end the connection
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        if self.is_behind:
            self._loop.remove_writer(self._socket)
        self._unsent = memoryview(b"")
        self._socket.close()
