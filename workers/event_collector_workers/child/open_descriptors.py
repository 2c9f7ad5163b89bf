"""Standard streams: open in every process of the pool, although the program may have closed its own."""

import os
import sys


def open_standard_descriptors() -> None:
    """Open the null device in place of closed standard descriptors.

    A socket of the pool would get the number otherwise, and with it all that handlers print.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is `fd`


def open_standard_streams() -> None:
    """Open the null device in place of streams that were closed when this process, or the one it is a fork of, began.

    Their numbers may be in use: an event loop and multiprocessing take the lowest.
    """
    open_standard_descriptors()
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, f"__{name}__") is None:
            null = open(os.devnull, "w" if fd else "r")  # noqa: SIM115 - open as long as the process
            os.dup2(null.fileno(), fd)
            if getattr(sys, name) is None:
                setattr(sys, name, null)
