"""faulthandler in a worker: it writes stacks where they outlive the process, even while native code runs.

There is one faulthandler in a process: a module or lifecycle that enables it in the worker has the dumps in its file.
"""

import contextlib
import faulthandler
import os

from event_collector_workers.transport.stack_file import STACK_SIGNAL


def write_stacks(fd: int) -> None:
    """Have all stacks written to `fd` at a fatal signal, and at the signal by which the program asks for them.

    The descriptor has to stay open. Call it in the main thread: it gets an alternate stack, for overflows of its own.
    """
    os.set_inheritable(fd, False)
    faulthandler.enable(fd)
    if STACK_SIGNAL is not None and hasattr(faulthandler, "register"):
        faulthandler.register(STACK_SIGNAL, fd, chain=True)

    def write_elsewhere() -> None:
        with contextlib.suppress(OSError):  # standard error is closed
            os.dup2(2, fd, inheritable=False)

    # A process that a handler forks must not write stacks in place of this one. What it may have enabled stays.
    os.register_at_fork(after_in_child=write_elsewhere)
