"""faulthandler in a worker: it writes stacks where they outlive the process, even while native code runs.

The program asks by one signal first, which Python handles between two bytecodes. Only a worker that does not answer is
asked by another one, at which faulthandler writes at once: native code runs, so that no frame changes meanwhile.
faulthandler can crash a process whose frames change.

There is one faulthandler in a process: a module or lifecycle that enables it in the worker has the dumps in its file.
"""

import contextlib
import faulthandler
import os
import signal

from event_collector_workers.transport.stack_file import CALM_SIGNAL, STACK_SIGNAL


def write_stacks(fd: int) -> None:
    """Have all stacks written to `fd` at a fatal signal, and at the signal by which the program asks for them.

    The descriptor has to stay open. Call it in the main thread: it gets an alternate stack, for overflows of its own.
    """
    os.set_inheritable(fd, False)
    faulthandler.enable(fd)
    if STACK_SIGNAL is not None and hasattr(faulthandler, "register"):
        faulthandler.register(STACK_SIGNAL, fd, chain=True)
    if CALM_SIGNAL is not None:
        signal.signal(CALM_SIGNAL, lambda *_: _write(fd))
        if hasattr(signal, "siginterrupt"):
            signal.siginterrupt(CALM_SIGNAL, False)

    def write_elsewhere() -> None:
        with contextlib.suppress(OSError):  # standard error is closed
            os.dup2(2, fd, inheritable=False)

    # A process that a handler forks must not write stacks in place of this one. What it may have enabled stays.
    os.register_at_fork(after_in_child=write_elsewhere)


def _write(fd: int) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # a handler has closed all descriptors
        faulthandler.dump_traceback(fd)
