"""Viewers: whoever is connected to a socket gets a line at once, and then one every interval, all of them the same.

None of them can hold up the program, whatever it does or fails to do: the line is made once for all, nobody is waited
for, and nothing is read. One that has not taken the line before is left out, so each has one line to come at most; one
that takes nothing for a while, or that sends something, is let go. Without viewers nothing is done at all: no timer
runs.

    accept --> the last line, if it is young, else a new one --> every INTERVAL seconds another --> gone: let go
"""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

__all__ = ["Viewers"]

INTERVAL: Final = 1.0
"""Seconds between two lines."""
MOST: Final = 64
"""Viewers at a time. For one more, one goes that is behind, or else the oldest: a probe is always let in."""
ADMITTED: Final = 32
"""Viewers that are let in within one interval; others wait in front of the socket, at no cost."""
PATIENCE: Final = 30.0
"""Seconds that a viewer may take for a line."""


class Viewers:
    """Serves a listening socket in the thread of the event loop, from the beginning until `close()`.

    Args:
        listener: where viewers connect; not blocking.
        make_line: returns the next line; called once in an interval, and only if somebody looks.
        log: hears of a line that could not be made.
        interval: seconds between two lines.

    """

    def __init__(
        self, listener: socket.socket, make_line: Callable[[], bytes], log: Any, *, interval: float = INTERVAL
    ) -> None:
        self._listener, self._make_line, self._log, self._interval = listener, make_line, log, interval
        self._loop = asyncio.get_running_loop()
        self._viewers: list[_Viewer] = []
        self._timer: asyncio.TimerHandle | None = None
        self._line = b""
        self._made_at = -interval
        self._admitted = 0
        self._loop.add_reader(listener, self._accept)

    def __len__(self) -> int:
        return len(self._viewers)

    def close(self) -> None:
        """Send what there is to say at the end to those who can take it, and let all go."""
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
        except OSError:  # no descriptor left: perhaps after the next interval
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
            viewer.look_after()
        self._viewers = [viewer for viewer in self._viewers if not viewer.is_gone]
        if self._viewers:
            self._timer = self._loop.call_later(self._interval, self._tick)
            self._renew()
            self._send()

    def _renew(self) -> None:
        self._made_at = monotonic()
        try:
            self._line = self._make_line()
        except Exception as exc:  # to be looked at must not do any harm
            self._line = b""
            self._log.error("no snapshot could be made for those who watch the queue", exc_info=exc)

    def _send(self) -> None:
        for viewer in self._viewers:
            viewer.offer(self._line)


class _Viewer:
    """One connection, and what of a line it has yet to take."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._loop, self._socket = loop, connection
        self._unsent = memoryview(b"")
        self._behind_since = 0.0
        self.is_gone = False

    @property
    def is_behind(self) -> bool:
        """Whether it has not taken all of the line before."""
        return bool(self._unsent)

    def offer(self, line: bytes) -> None:
        """Send a line, unless it is behind."""
        if self.is_gone or self.is_behind:
            return
        self._unsent = memoryview(line)
        self._flush()
        if self.is_behind and not self.is_gone:
            self._behind_since = monotonic()
            self._loop.add_writer(self._socket, self._go_on)

    def _go_on(self) -> None:
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

    def look_after(self) -> None:
        """Let it go if it has gone, if it sends something, or if it takes nothing."""
        if self.is_behind and monotonic() - self._behind_since > PATIENCE:
            self.close()
        if self.is_gone:
            return
        try:
            self._socket.recv(1)  # it has nothing to say: the end, and all else, is the end
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """Let it go. Idempotent."""
        if self.is_gone:
            return
        self.is_gone = True
        if self.is_behind:
            self._loop.remove_writer(self._socket)
        self._unsent = memoryview(b"")
        self._socket.close()
