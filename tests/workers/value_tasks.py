"""A task for the tests of shared memory: it looks at large values, keeps them, returns them, dies over them."""

import gc
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

kept: list[Any] = []


class Cycle:
    """Keeps a view until it is collected, and looks at it once more then."""

    def __init__(self, view: memoryview) -> None:
        self.view, self.me = view, self

    def __del__(self) -> None:
        kept.append(digest(self.view))


def digest(value: Any) -> str:
    """Return what distinguishes the values of these tests: each consists of one byte, repeated."""
    view = memoryview(value).cast("B")
    middle = view[len(view) // 2]
    return f"{view[0]}.{middle}.{view[-1]}.{len(view)}"


def look(value: Any) -> str:
    return digest(value)


def kind(value: Any) -> str:
    return f"{type(value).__name__},{memoryview(value).readonly}"


def keep(value: Any) -> str:
    kept.append(memoryview(value)[1:])
    return ",".join(map(digest, kept))


def keep_in_thread(value: Any) -> str:
    def hold(view: memoryview) -> None:
        let_go.wait()
        kept.append(digest(view))

    threading.Thread(target=hold, args=(memoryview(value)[:],), daemon=True).start()
    return digest(value)


let_go = threading.Event()


def release_threads(value: Any) -> str:
    let_go.set()
    while len(kept) < 3:
        time.sleep(0.001)
    return ",".join(kept)


def keep_in_cycle(value: Any) -> str:
    Cycle(memoryview(value)[:])
    return digest(value)


def collect(value: Any) -> str:
    gc.collect()
    return ",".join(kept)


def die(value: Any) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return digest(value)


def fork(value: Any, path: str) -> str:
    """Fork a child that holds a view, and writes down what it sees when it is told to."""
    if os.fork() == 0:
        while not Path(path + ".go").exists():
            time.sleep(0.002)
        Path(path).write_text(digest(value))
        os._exit(0)
    return digest(value)


def give(value: Any) -> memoryview:
    return memoryview(value)[10:]


def make(value: Any, size: str, letter: str) -> memoryview:
    return memoryview(letter.encode() * int(size))


def make_bytes(value: Any, size: str, letter: str) -> bytes:
    return letter.encode() * int(size)


class Values:
    """Calls the function of this module that the first word of the body names."""

    def __init__(self, _argument: bytes = b"", shared: list[memoryview] | None = None) -> None:
        self.shared = shared

    def run(self, body: bytes | memoryview, blob: Any) -> tuple[bytes, Any]:
        name, *words = bytes(body).decode().split()
        if name == "shared":
            return ",".join(map(digest, self.shared or [])).encode(), None
        outcome = globals()[name](blob, *words)
        return (outcome.encode(), None) if isinstance(outcome, str) else (b"", outcome)

    def close(self) -> None:
        pass
