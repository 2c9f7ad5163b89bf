"""The working directory of a program, which may have been removed."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)  # a thread that the child does not have may hold it


@contextmanager
def existing_directory() -> Iterator[None]:
    """Be in "/" meanwhile if the working directory is gone: multiprocessing tells new processes where the program is.

    Other threads notice nothing. From a directory that is gone, no relative path leads anywhere.
    """
    with _lock:
        try:
            os.getcwd()
        except FileNotFoundError:
            gone = os.open(".", os.O_RDONLY)
            try:
                os.chdir("/")
                yield
            finally:
                os.chdir(gone)
                os.close(gone)
        else:
            yield
