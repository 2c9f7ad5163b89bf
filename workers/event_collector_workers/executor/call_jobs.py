"""The task of a ScaledProcessPoolExecutor: calls of pickled functions.

A call is a pickle of (function, arguments, keyword arguments). A reply is a pickle of (whether the call returned, its
value or exception, the text of the traceback). Large pickles travel as blobs. No other job of a pool is pickled.
"""

import pickle
from collections.abc import Callable, Iterable
from multiprocessing.reduction import ForkingPickler
from typing import Any

from event_collector_workers.error_texts import exception_text, text_of
from event_collector_workers.job import Buffer
from event_collector_workers.transport.frames import BLOB_FROM

REFERENCE = f"{__name__}:CallTask"

Parts = tuple[bytes, Buffer | None]
"""A body and a blob. The pickle is in the blob if there is one, else in the body."""


def dump(value: object) -> Parts:
    """Pickle a value. Raises an error of any class if that is not possible."""
    # Sockets and connections can be pickled for a child of this process only. The pickler of the standard library would
    # take the number of a connection's descriptor, which is another one there.
    data: Buffer = ForkingPickler.dumps(value, pickle.HIGHEST_PROTOCOL)
    if len(data) >= BLOB_FROM:
        return b"", data
    return bytes(data), None


def load(body: Buffer, blob: Buffer | None) -> Any:
    """Return the value that `dump` has pickled. Raises an error of any class if that is not possible."""
    return pickle.loads(body if blob is None else blob)  # noqa: S301 - an executor trusts its program


def run_chunk(function: Callable[..., Any], chunk: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Call a function with each tuple of arguments in a chunk."""
    return [function(*arguments) for arguments in chunk]


def run_initializer(initializer: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """Call an initializer. An exception is logged, as in the stdlib, and prevents the worker from starting."""
    try:
        initializer(*arguments)
    except BaseException:
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        raise


class CallTask:
    """Runs calls in a worker."""

    def __init__(self, _argument: bytes) -> None:
        pass

    def run(self, body: bytes | memoryview, blob: Buffer | None) -> Parts:
        """Run one call. Any exception is its outcome, SystemExit and KeyboardInterrupt too, as in the stdlib."""
        try:
            function, arguments, keywords = load(body, blob)
            return dump((True, function(*arguments, **keywords), ""))
        except BaseException as error:
            return _dump_error(error)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _dump_error(error: BaseException) -> Parts:
    text = exception_text(error)
    error.__traceback__ = None
    try:
        parts = dump((False, error, text))
        load(*parts)  # a class whose pickles do not load must not reach the parent
    except BaseException as failure:
        explained = (
            f"{type(error).__qualname__} cannot be sent to the parent ({text_of(failure)}); its text: {text_of(error)}"
        )
        return dump((False, TypeError(explained), text))
    return parts
