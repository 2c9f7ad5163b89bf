"""Monitor: where a queue can be watched from outside, and what else is possible there."""

import os
from typing import Any

from event_collector.values.errors import ConfigError
from event_collector.watching.socket_file import check_path


class Monitor:
    """The sockets of one queue: `CollectorQueue(..., monitor=Monitor(path))`. All are for this user only (0600).

    Args:
        path: of the Unix socket that sends snapshots, and details to viewers that ask. Beside it is PATH.stacks, which
            returns stacks. The sockets of a dead program are replaced. They are removed at the end.
        control: open PATH.control too, through which `event-collector ctl` and the web page pause, resize, cancel,
            replay and drain. Who can connect there can end the work of this queue.
        payloads: let texts of payloads out through the sockets.

    Raises:
        ConfigError: a socket cannot have this path, or a value is not True or False.
    """

    def __init__(self, path: str | os.PathLike[str], *, control: bool = False, payloads: bool = False) -> None:
        self.path = check_path(path)
        for name, value in (("control", control), ("payloads", payloads)):
            given: Any = value
            if not isinstance(given, bool):
                raise ConfigError(f"monitor: {name} is True or False, not {value!r}")
        self.control, self.payloads = control, payloads

    def __repr__(self) -> str:
        return f"<Monitor {self.path!r} control={self.control} payloads={self.payloads}>"


def as_monitor(given: Any) -> Monitor:
    """Return a Monitor, or one at a path. Raise ConfigError if a socket cannot have this path."""
    return given if isinstance(given, Monitor) else Monitor(given)
