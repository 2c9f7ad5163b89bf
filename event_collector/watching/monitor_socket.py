"""The monitor socket of a queue: opened first, closed last; every connection gets snapshots."""

from collections.abc import Callable
from typing import Any, Protocol

from event_collector.watching.monitor import as_monitor
from event_collector.watching.snapshot import Snapshot, encode_snapshot
from event_collector.watching.socket_file import SocketFile
from event_collector.watching.stack_socket import StackSocket, WorkerStacks, open_stack_socket
from event_collector.watching.viewers import DetailSource, Viewers


class SideSocket(Protocol):
    """A socket beside that of the monitor."""

    def open(self) -> None:
        """Listen. Raise MonitorError if the socket cannot be made."""

    def close(self) -> None:
        """Disconnect all clients and remove the socket. Idempotent."""


class MonitorSocket:
    """The socket of one queue. `look` takes a snapshot; it is called only while a viewer is connected.

    `details` makes what viewers get beside if they ask for it. The socket for stacks is beside it, and, if given, the
    one for control. `worker_stacks` is called in a thread.

    Raises ConfigError if `monitor` is neither a Monitor nor a path that a socket can have.
    """

    def __init__(
        self,
        monitor: Any,
        look: Callable[[], Snapshot],
        worker_stacks: WorkerStacks,
        log: Any,
        details: DetailSource | None = None,
        control: SideSocket | None = None,
    ) -> None:
        self._path = as_monitor(monitor).path
        self._look, self._worker_stacks, self._log = look, worker_stacks, log
        self._details, self._control = details, control
        self._open: tuple[SocketFile, Viewers, StackSocket | None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._open is None else f"{len(self._open[1])} viewers"
        return f"<MonitorSocket {self._path}: {state}>"

    def open(self) -> None:
        """Listen, and send snapshots to every viewer. Raise MonitorError if the socket cannot be made."""
        file = SocketFile(self._path)
        try:
            stacks = open_stack_socket(self._path, self._worker_stacks)
            if self._control is not None:
                self._control.open()
            viewers = Viewers(file.socket, lambda: encode_snapshot(self._look()), self._log, self._details)
        except BaseException:
            file.close()
            raise
        if stacks is None:
            self._log.warning("no socket for stacks: the path of the monitor socket is too long", path=self._path)
        self._open = file, viewers, stacks

    def close(self) -> None:
        """Send the last snapshot, disconnect all viewers and remove the socket. Idempotent."""
        if self._open is not None:
            file, viewers, stacks = self._open
            viewers.close()
            if self._control is not None:
                self._control.close()
            if stacks is not None:
                stacks.close()
            file.close()
            self._open = None
