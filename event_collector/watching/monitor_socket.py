"""The socket at which a queue can be watched: opened first, closed last, a snapshot for whoever connects."""

from collections.abc import Callable
from typing import Any

from event_collector.watching.snapshot import Snapshot, encode_snapshot
from event_collector.watching.socket_file import SocketFile, check_path
from event_collector.watching.viewers import Viewers

__all__ = ["MonitorSocket"]


class MonitorSocket:
    """The socket of one queue.

    Args:
        path: where it is to be; see `CollectorQueue(monitor=...)`.
        look: takes a snapshot; called only while somebody is connected.
        log: hears of trouble.

    Raises:
        ConfigError: no socket can have this path.

    """

    def __init__(self, path: Any, look: Callable[[], Snapshot], log: Any) -> None:
        self._path = check_path(path)
        self._look, self._log = look, log
        self._file: SocketFile | None = None
        self._viewers: Viewers | None = None

    def open(self) -> None:
        """Listen, and show snapshots to whoever connects.

        Raises:
            MonitorError: the socket cannot be had.

        """
        file = SocketFile(self._path)
        try:
            self._viewers = Viewers(file.socket, lambda: encode_snapshot(self._look()), self._log)
        except BaseException:
            file.close()
            raise
        self._file = file

    def close(self) -> None:
        """Show the last snapshot, let all viewers go, remove the socket. Idempotent."""
        if self._viewers is not None:
            self._viewers.close()
        if self._file is not None:
            self._file.close()
        self._viewers = self._file = None
