"""Functions that end their process, or never return. Workers import this module: it imports little."""

import ctypes
import faulthandler
import os
import signal
import time


def do_nothing() -> None:
    """Return."""


def end_by(kind: str) -> None:
    """End this process in one of many ways, or never return."""
    match kind:
        case "segv":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "native abort":
            ctypes.CDLL(None).abort()
        case "overflow":
            faulthandler._stack_overflow()
        case "fpe" | "bus":
            os.kill(os.getpid(), signal.SIGFPE if kind == "fpe" else signal.SIGBUS)
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "native sleep":  # which ends at any signal
            ctypes.CDLL(None).sleep(60)
        case "native sleep that holds the GIL":
            ctypes.PyDLL(None).sleep(60)
        case "sleep":
            time.sleep(60)


def recur(depth: int) -> None:
    """Sleep in this many calls of this function."""
    if depth:
        recur(depth - 1)
    else:
        time.sleep(60)


def crash_with_own_file(path: str) -> None:
    """Crash after this process has enabled faulthandler itself."""
    with open(path, "w") as file:
        faulthandler.enable(file)
        ctypes.string_at(0)


def crash_after_a_fork() -> None:
    """Have a child crash first, and then end without a stack."""
    if not (child := os.fork()):
        ctypes.string_at(0)
    os.waitpid(child, 0)
    os.kill(os.getpid(), signal.SIGKILL)
