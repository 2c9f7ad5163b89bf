"""Handlers for the tests of faults: each does to its process what the payload says."""

import gc
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from event_collector import Context, Payload

MIB = 1024 * 1024
RESULT = 0xEC0D0007
"""The kind of a message with a result; see event_collector_workers.transport.frames."""


def note(argument: list[Any]) -> Any:
    """Append a number to the ledger, so that it shows what ran how often, and return it."""
    ledger, number = argument
    with Path(ledger).open("a") as file:
        file.write(f"{number}\n")
    return number


def exceed_address_space(megabytes: int) -> int:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 64 * MIB, resource.RLIM_INFINITY))
    return len(bytearray(megabytes * MIB))


def hold_memory(megabytes: int) -> int:
    """Touch that much memory in small steps, as a program does that reads a large file."""
    held = [bytes(64 * 1024).replace(b"\0", b"x") for _ in range(megabytes * 16)]
    return len(held)


def limit(argument: list[Any]) -> str:
    name, value = argument
    resource.setrlimit(getattr(resource, name), (value, resource.getrlimit(getattr(resource, name))[1]))
    return name


def burn_processor(seconds: float) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1, resource.RLIM_INFINITY))
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "burnt"


def change_surroundings(_: Any) -> str:
    """All that a careless library changes in the process it runs in, and does not change back."""
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    sys.path.clear()
    sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]
    gc.disable()
    socket.setdefaulttimeout(0.001)
    threading.stack_size(64 * 1024)
    threading.setprofile(lambda *_: None)
    sys.setswitchinterval(10)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)  # interrupts every system call, again and again
    return "changed"


def lower_recursion_limit(_: Any) -> str:
    depth = 0
    frame: Any = sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 10)
    return "lowered"


def fork_and_return(_: Any) -> str:
    """What a library does that thinks it is a program: the child goes on in the worker's place."""
    return "child" if os.fork() == 0 else "parent"


def fork_and_stay(_: Any) -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


def start_program(_: Any) -> int:
    return subprocess.Popen(["/bin/sleep", "60"], close_fds=False).pid


def write_to_sockets(data: bytes) -> str:
    """Write to every socket of this process, as a confused library might."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), data)
        except OSError:
            pass
    return "written"


def claim_and_exit(length: int) -> None:
    """Announce a result of that length, and die with the first bytes of it under way."""
    write_to_sockets(struct.pack("<IIq", RESULT, 0, length) + bytes(1000))
    os._exit(4)


def print_much(megabytes: int) -> int:
    line = "x" * (MIB - 1)
    for _ in range(megabytes):
        print(line)
    return megabytes


def leave_thread(_: Any) -> str:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "left"


def linger(argument: list[Any]) -> str:
    """Make the file, so that the test knows where the handler is, and stay."""
    path, seconds = argument
    Path(path).touch()
    time.sleep(seconds)
    return "stayed"


ACTS: dict[str, Any] = {
    "note": note,
    "exceed address space": exceed_address_space,
    "hold memory": hold_memory,
    "limit": limit,
    "burn processor": burn_processor,
    "change surroundings": change_surroundings,
    "lower recursion limit": lower_recursion_limit,
    "close descriptors": lambda first: os.closerange(first, 4096),
    "fork and return": fork_and_return,
    "fork and stay": fork_and_stay,
    "start program": start_program,
    "write to sockets": write_to_sockets,
    "claim and exit": claim_and_exit,
    "kill launcher": lambda _: os.kill(os.getppid(), signal.SIGKILL),
    "print": print_much,
    "leave thread": leave_thread,
    "linger": linger,
    "sleep": time.sleep,
    "exit": os._exit,
    "pid": lambda _: os.getpid(),
    "large": lambda size: bytes(size),
}


def act(payload: Payload[Any], ctx: Context) -> Any:
    name, argument = payload.value
    return ACTS[name](argument)
