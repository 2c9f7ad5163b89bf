"""A thread that accepts the connections of a socket, so that they need nothing of the event loop."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable

from event_collector.watching.socket_file import SocketFile


class ListenerThread:
    """Accepts connections until `close()`, and calls `handle` with each, in its thread, one after the other.

    `handle` closes the connection, or has it closed. An OSError or ValueError that it raises ends this connection only.
    """

    def __init__(self, file: SocketFile, handle: Callable[[socket.socket], None], name: str) -> None:
        self._file, self._handle = file, handle
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<ListenerThread {self._file.path}>"

    def close(self) -> None:
        """Stop listening and remove the socket. A client that is being answered is left to the thread."""
        self._wake.close()
        self._file.close()

    def _serve(self) -> None:
        listener = self._file.socket
        with self._woken, selectors.DefaultSelector() as selector, contextlib.suppress(ValueError):  # closed meanwhile
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is not self._woken for key, _ in selector.select()):
                with contextlib.suppress(OSError, ValueError):  # no descriptor is left; what the client does
                    connection, _ = listener.accept()
                    connection.setblocking(True)
                    self._handle(connection)
