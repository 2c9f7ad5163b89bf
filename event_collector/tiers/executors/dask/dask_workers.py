"""The executor of a Dask cluster for `Collector(mode=...)`, and a client for an address."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final

from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError, ExecutorLost
from event_collector.values.extras import install_line

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that a scheduler may take to answer."""


def dask_workers(
    client: "Client", *, workers: Sequence[str] | None = None, resources: Mapping[str, float] | None = None
) -> Executor:
    """Return an executor for `Collector(mode=...)` that runs the handler in the workers of a Dask cluster.

    Args:
        client: a client of the cluster. It must stay open while a queue uses it. The application closes it.
        workers: addresses of the workers to use; None for all workers.
        resources: Dask resources that a task needs, such as `{"GPU": 1}`.

    Raises:
        ConfigError: Dask is not installed, or `client` is not a Dask client.
    """
    if not isinstance(client, _client_class()):
        raise ConfigError(f"dask_workers() takes a dask.distributed.Client, not {client!r}")
    placement: dict[str, Any] = {}
    if workers is not None:
        placement["workers"] = list(workers)
    if resources is not None:
        placement["resources"] = dict(resources)
    untyped: Any = client
    executor: Executor = untyped.get_executor(pure=False, **placement)  # by default Dask computes equal tasks once
    return executor


@contextlib.contextmanager
def connected(address: str) -> Iterator["Client"]:
    """Return a client of the scheduler at an address such as `tcp://host:8786`. Leaving the context closes it.

    Raises:
        ConfigError: Dask is not installed, or the address is malformed.
        ExecutorLost: no scheduler answers within 10 s.
    """
    client_class = _client_class()
    try:
        client = client_class(address, timeout=clock.source.patience(CONNECT_TIMEOUT), set_as_default=False)
    except OSError as exc:
        raise ExecutorLost(f"no Dask scheduler answers at {address}: {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"{address!r} is no address of a Dask scheduler, such as tcp://host:8786: {exc}") from exc
    try:
        yield client
    finally:
        client.close(timeout=clock.source.patience(CONNECT_TIMEOUT))


def _client_class() -> Any:
    try:
        from distributed import Client
    except ModuleNotFoundError as exc:
        raise ConfigError(f"Dask is not installed: {install_line('dask')}") from exc
    return Client
