"""The executor of a Dask cluster, as `Collector(mode=...)` takes it, and a client for an address."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final

from event_collector.values.errors import ConfigError, ExecutorLost
from event_collector.values.extras import install_line

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT: Final = 10.0
"""Seconds until a scheduler that does not answer counts as not there."""

_MISSING: Final = f"Dask is not installed: {install_line('dask')}"


def dask_workers(
    client: "Client", *, workers: Sequence[str] | None = None, resources: Mapping[str, float] | None = None
) -> Executor:
    """Return what `Collector(mode=...)` takes to run its handler in the workers of a Dask cluster.

    Args:
        client: connected to the cluster; it stays open as long as a queue uses it, and is the application's to close.
        workers: addresses of the workers that may be used; None for all.
        resources: what a task needs of its worker, as Dask has it: `{"GPU": 1}`.

    Raises:
        ConfigError: Dask is not installed, or `client` is no client of it.

    """
    _require_dask()
    from distributed import Client

    if not isinstance(client, Client):
        raise ConfigError(f"dask_workers() takes a dask.distributed.Client, not {client!r}")
    placement: dict[str, Any] = {}
    if workers is not None:
        placement["workers"] = list(workers)
    if resources is not None:
        placement["resources"] = dict(resources)
    # Equal tasks are one task to Dask, unless it is told that they are not.
    untyped: Any = client
    executor: Executor = untyped.get_executor(pure=False, **placement)
    return executor


@contextlib.contextmanager
def connected(address: str) -> Iterator["Client"]:
    """Return a client of the scheduler at an address, `tcp://host:8786`; closed at the end.

    Raises:
        ConfigError: Dask is not installed, or the address is none.
        ExecutorLost: no scheduler answers there within 10 s.

    """
    _require_dask()
    from distributed import Client

    make: Any = Client
    try:
        client = make(address, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except OSError as exc:
        raise ExecutorLost(f"no Dask scheduler answers at {address}: {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"{address!r} is no address of a Dask scheduler, such as tcp://host:8786: {exc}") from exc
    try:
        yield client
    finally:
        client.close(timeout=CONNECT_TIMEOUT)


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as exc:
        raise ConfigError(_MISSING) from exc
