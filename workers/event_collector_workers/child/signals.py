"""Signals of processes of the pool, from their first instant: SIGINT and SIGTERM are left to the program."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Final

_LEFT: Final[dict[int, Any]] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that are left to the program, and how Python handles them by default."""


@contextmanager
def signals_blocked(*numbers: int) -> Iterator[None]:
    """Block signals, by default SIGINT and SIGTERM, in this thread and in a process that it starts meanwhile.

    Service managers send SIGTERM to every process. One that received it before `leave_signals_to_program` would end.
    So it may if the signal ends the program, too: those are not blocked.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    handled = [number for number in numbers or _LEFT if signal.getsignal(number) != signal.SIG_DFL]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_program() -> None:
    """Undo the signal handling that this process has inherited, and do nothing at SIGINT and SIGTERM.

    The process has its own process group, which the signals of a terminal do not reach. It may print there all the
    same, and a read from it fails instead of stopping the process.
    """
    with contextlib.suppress(AttributeError, OSError):  # not on this platform; the process leads a session already
        os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in _LEFT:
        signal.signal(number, _do_nothing)  # SIG_IGN would be inherited by the programs that handlers start
        if hasattr(signal, "siginterrupt"):
            signal.siginterrupt(number, False)  # native code need not expect EINTR
    for name, action in (("SIGCHLD", signal.SIG_DFL), ("SIGTTIN", signal.SIG_IGN), ("SIGTTOU", signal.SIG_IGN)):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), action)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def handle_signals_in_forks() -> None:
    """Undo `leave_signals_to_program` in processes that handlers fork, where they have not done so before."""
    blocked = ExitStack()  # between fork and restore, a signal would be lost

    def restore() -> None:
        for number, action in _LEFT.items():
            if signal.getsignal(number) is _do_nothing:
                signal.signal(number, action)
        blocked.close()

    os.register_at_fork(
        before=lambda: blocked.enter_context(signals_blocked()), after_in_child=restore, after_in_parent=blocked.close
    )


def kill_group(leader: int) -> None:
    """Kill the processes of a worker's group: the worker, and what its handlers have started. A no-op if it is gone."""
    if leader:  # 0 would be the group of this process
        with contextlib.suppress(AttributeError, OSError):
            os.killpg(leader, signal.SIGKILL)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal that the program decides about."""
