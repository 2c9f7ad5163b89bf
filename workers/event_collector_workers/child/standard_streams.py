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
    """The same, and for `sys.stdout` and `sys.stderr`, which are None in a process that began without them."""
    open_standard_descriptors()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process
