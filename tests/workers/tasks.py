"""Tasks that the tests of the worker pool run in worker processes: each does what its body says."""

import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Actor:
    """Runs the function of this module that the first word of the body names, with the other words."""

    def __init__(self, argument: bytes = b"") -> None:
        self.log = Path(argument.decode()) if argument else None

    def run(self, body: bytes | memoryview, blob: bytes | None) -> tuple[bytes, bytes | None]:
        name, *words = bytes(body).decode().split()
        if blob is not None and name == "give":
            return b"", blob
        if blob is not None:
            return name.encode(), ACTS[name](blob, *words)
        return str(ACTS[name](*words)).encode(), None

    def close(self) -> None:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"closed {os.getpid()}\n")


class Giver(Actor):
    """Gives as many parts as a body such as "count 20" says; does all else as an Actor, without parts."""

    def produce(self, body: bytes | memoryview, blob: bytes | None) -> Any:
        name, *words = bytes(body).decode().split()
        if name != "count":
            return self.run(body, blob)
        for number in range(int(words[0])):
            if (yield str(number).encode(), None):
                return b"closed", None
        return b"counted", None


def giver(argument: bytes) -> Giver:
    return Giver(argument)


def descriptors() -> str:
    """What this process has open, in words."""
    return ",".join(os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")).replace(" ", "")


def evaluate(*words: str) -> str:
    """Return this process, its parent, and the value of an expression."""
    return json.dumps([os.getpid(), os.getppid(), eval(" ".join(words))])


def actor(argument: bytes) -> Actor:
    return Actor(argument)


def never_opens(argument: bytes) -> Actor:
    raise LookupError(f"no such database: {argument.decode()}")


def opens_if_present(argument: bytes) -> Actor:
    return Actor() if Path(argument.decode()).exists() else never_opens(argument)


def opens_when_told(argument: bytes) -> Actor:
    folder = Path(argument.decode())
    append(str(folder / "opening"), str(os.getpid()))
    wait_for(str(folder / "go"))
    return Actor(bytes(folder / "closed"))


def exits_at_start(argument: bytes) -> Actor:
    os._exit(int(argument))


def hangs_at_start(_argument: bytes) -> Actor:
    threading.Event().wait()
    raise AssertionError


def segfault() -> None:
    ctypes.string_at(0)


def hold_the_interpreter(seconds: str) -> None:
    ctypes.PyDLL(None).sleep(int(seconds))  # a foreign call that keeps the interpreter's lock


def burn(seconds: str) -> str:
    end = time.perf_counter() + float(seconds)
    while time.perf_counter() < end:
        pass
    return "burnt"


def spend(seconds: str) -> str:
    end = time.process_time() + float(seconds)
    while time.process_time() < end:
        pass
    return "spent"


def append(path: str, word: str, seconds: str = "0") -> str:
    with Path(path).open("a") as file:
        file.write(word + "\n")
    time.sleep(float(seconds))
    return word


def wait_for(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.002)
    return "there"


def close_descriptors() -> str:
    os.closerange(3, 1000)
    return "closed"


def scribble() -> None:
    """Write garbage to every socket of this process, as a confused library might."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if "socket" in os.readlink(f"/proc/self/fd/{name}"):
                os.write(int(name), b"\xff" * 4096)
        except OSError:
            pass


def fork_a_lingering_child() -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


def start_program(path: str, end: str = "wait") -> str:
    """Start a program that runs for a minute, leave its process id in a file, and wait for it, or end otherwise."""
    process = subprocess.Popen(["sleep", "60"])
    Path(path).write_text(str(process.pid))
    if end == "crash":
        os._exit(1)
    return str(process.wait() if end == "wait" else process.pid)


def terminate_a_program() -> str:
    """How a program and a fork of this process end that are asked to by SIGTERM, and one that Ctrl-C reaches."""
    asked, interrupted = subprocess.Popen(["sleep", "60"]), subprocess.Popen(["sleep", "60"])
    asked.terminate()
    interrupted.send_signal(signal.SIGINT)
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    fork.start()
    fork.terminate()
    fork.join()
    return f"{asked.wait()},{interrupted.wait()},{fork.exitcode}"


def no_memory() -> None:
    raise MemoryError("pretended")


def large(size: str, seconds: str = "0") -> str:
    time.sleep(float(seconds))
    return "x" * int(size)


def misuse() -> Any:
    raise KeyError("missing")


ACTS: dict[str, Any] = {
    "evaluate": evaluate,
    "echo": lambda *words: words[0] if words else "",
    "pid": os.getpid,
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "burn": burn,
    "spend": spend,
    "exit": lambda code: os._exit(int(code)),
    "sys_exit": lambda code: sys.exit(int(code)),
    "kill": lambda number: os.kill(os.getpid(), int(number)),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "segfault": segfault,
    "hold": hold_the_interpreter,
    "append": append,
    "wait_for": wait_for,
    "close_descriptors": close_descriptors,
    "descriptors": descriptors,
    "scribble": scribble,
    "fork": fork_a_lingering_child,
    "start_program": start_program,
    "terminate": terminate_a_program,
    "no_memory": no_memory,
    "misuse": misuse,
    "large": large,
    "print": lambda size: print("x" * int(size)),
    "print_raw": lambda: os.writev(1, [b"x" * 10000]) and None,
    "ignore_term": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
}
