"""Makes fork fail in the process that imports it, for as long as a file exists: the zygote preloads it."""

import errno
import os
from pathlib import Path
from typing import Final

_FILE: Final = Path(os.environ.get("REFUSE_TO_FORK", "/nonexistent"))
_fork = os.fork


def fork() -> int:
    if _FILE.exists():
        number = int(_FILE.read_text() or errno.EAGAIN)
        raise OSError(number, os.strerror(number))
    return _fork()


os.fork = fork
