"""The reader of a monitor socket: connects, asks for details, and connects again after a new start."""

import asyncio
from collections.abc import Callable
from typing import Final

from event_collector.watching.details import REQUEST
from event_collector.web.watched import Watched

RETRY: Final = 0.5
"""Seconds between two attempts to connect."""
LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes of a line: a peer that sends more is no queue."""

Record = Callable[[bytes], None]


async def follow_socket(path: str, watched: Watched, record: Record | None = None) -> None:
    """Give all that comes from the socket to `watched`, and each line to `record`, until this is cancelled."""
    while True:
        watched.lose(await _follow_once(path, watched, record))
        await asyncio.sleep(RETRY)


async def _follow_once(path: str, watched: Watched, record: Record | None) -> str:
    """Read until the connection ends; return the reason."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
    except OSError as exc:
        return _reason(exc)
    try:
        writer.write(REQUEST)
        while line := await reader.readline():
            watched.take_line(line)
            if record is not None:
                record(line)
    except ConnectionError:
        pass
    except ValueError as exc:
        return str(exc)
    finally:
        writer.close()
    if watched.snapshot is not None and watched.snapshot.state == "stopped":
        return "the queue has ended"
    return "the program is gone, or has closed the connection"


def _reason(exc: OSError) -> str:
    if isinstance(exc, FileNotFoundError):
        return "there is no socket: the program has not started, or has ended"
    if isinstance(exc, ConnectionRefusedError):
        return "nobody listens there: the program that made the socket is gone"
    if isinstance(exc, PermissionError):
        return "the socket is for the user only who runs the program"
    return str(exc.strerror or exc)
