"""Signal handling in processes of the pool, from their first instant: Ctrl-C is left to the program."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and in a process that it starts meanwhile.

    Ctrl-C reaches the whole process group. A process that received it before `ignore_interrupts` would end with a
    traceback of its imports.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the program. Blocked signals are dropped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def reset_signals() -> None:
    """Undo the inherited signal handling of a worker, which leaves Ctrl-C to the program."""
    signal.set_wakeup_fd(-1)
    ignore_interrupts()
    for number in (signal.SIGTERM, getattr(signal, "SIGCHLD", signal.SIGTERM)):
        signal.signal(number, signal.SIG_DFL)
